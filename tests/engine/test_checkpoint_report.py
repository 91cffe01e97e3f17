"""What the load of a checkpoint says: counts, a table by module, sentences about heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdet_clone.engine.checkpoint import load_checkpoint, load_state_dict
from mmdet_clone.engine.load_report import LoadReport, class_count_changes


class Head(nn.Module):
    """Layers of the given numbers of outputs for ``num_classes``."""

    def __init__(self, num_classes, **outputs):
        super().__init__()
        self.num_classes = num_classes
        for name, number in outputs.items():
            self.add_module(name, nn.Linear(4, number))


def two_stage(num_classes):
    model = nn.Module()
    model.backbone, model.roi_head = nn.Linear(3, 3), nn.Module()
    model.roi_head.bbox_head = Head(num_classes, shared_fc=8, fc_cls=num_classes + 1, fc_reg=4 * num_classes)
    model.roi_head.mask_head = Head(num_classes, conv=8, conv_logits=num_classes)
    return model


def test_fine_tuning_says_which_heads_start_anew(tmp_path, capsys):
    source, model = two_stage(80), two_stage(3)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'coco.pth')
    load_checkpoint(model, tmp_path / 'coco.pth')
    printed = capsys.readouterr().out
    start = 'classes in the file, 3 in the model: starts from random weights'
    assert f'roi_head.bbox_head: 80 {start} (fc_cls, fc_reg)\n' in printed
    assert f'roi_head.mask_head: 80 {start} (conv_logits)\n' in printed
    assert 'loaded 6 of 12 entries' in printed
    assert '0 missing, 0 unexpected, 6 of another shape' in printed
    assert torch.equal(model.roi_head.bbox_head.shared_fc.weight, source.roi_head.bbox_head.shared_fc.weight)


@pytest.mark.parametrize(
    ('outputs', 'in_file', 'in_model'),
    [
        (lambda c: dict(retina_cls=9 * c), 80, 3),
        (lambda c: dict(retina_cls=9 * c), 20, 7),
        (lambda c: dict(cls0=4 * (c + 1), cls1=6 * (c + 1)), 80, 20),
        (lambda c: dict(multi_level_conv_cls=c), 80, 1),
        (lambda c: dict(fc_cls=c + 1, fc_reg=4 * c), 80, 1),
        (lambda c: dict(fc_cls=c + 1), 1, 80),
        (lambda c: dict(rpn_cls=3 * c), 2, 1),
    ],
)
def test_class_counts_are_told_from_the_sizes(outputs, in_file, in_model):
    shapes = {
        f'head.{name}.weight': ((of_file, 4), (of_model, 4))
        for (name, of_file), of_model in zip(outputs(in_file).items(), outputs(in_model).values())
    }
    model = nn.Module()
    model.head = Head(in_model, **outputs(in_model))
    (sentence,) = class_count_changes(model, shapes, in_file)
    assert sentence.startswith(f'head: {in_file} classes in the file, {in_model} in the model: starts from random')


def test_sizes_that_leave_the_count_open_are_said_so():
    model = nn.Module()
    model.head = Head(8, retina_cls=72)  # 9 for each of 8 classes, or 8 for each of 9
    shapes = {'head.retina_cls.weight': ((720, 4), (72, 4))}
    assert class_count_changes(model, shapes, 80)[0].startswith('head: 80 classes in the file')
    assert class_count_changes(model, shapes)[0].startswith('head: another number of classes in the file, 8 in')


def test_another_width_is_no_other_class_count():
    model = nn.Module()
    model.head = Head(3, fc_cls=4)
    assert class_count_changes(model, {'head.fc_cls.weight': ((4, 8), (4, 4))}) == []
    assert class_count_changes(model, {'backbone.weight': ((4, 8), (4, 4))}) == []


def test_what_is_left_out_is_a_table_by_module(capsys):
    model = nn.Module()
    model.backbone, model.neck = nn.Linear(3, 3), nn.Linear(2, 2)
    state = {
        'backbone.weight': torch.zeros(3, 3),
        'backbone.bias': torch.zeros(5),
        'fc.weight': torch.zeros(1),
        'fc.bias': torch.zeros(1),
    }
    load_state_dict(model, state, source='a file')
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == 'loaded 1 of 4 entries from a file: 2 missing, 2 unexpected, 1 of another shape'
    table = [line.split() for line in lines if line.startswith('  ')]
    assert ['neck', '2', '0', '0', 'bias'] in table
    assert ['fc', '0', '2', '0', 'bias'] in table
    assert ['backbone', '0', '0', '1', 'bias', '(5,)', '->', '(3,)'] in table


def test_a_long_table_is_shortened():
    keys = [f'part{i}.layer{j}.weight' for i in range(20) for j in range(3)]
    lines = LoadReport('a file', ['x'], 1, [], keys, {}).details().splitlines()
    assert len(lines) == 14
    assert lines[-1] == '  ... and 8 more modules'
    few = [f'part{i}.layer{j}.weight' for i in range(5) for j in range(3)]
    assert len(LoadReport('a file', ['x'], 1, [], few, {}).details().splitlines()) == 6


def test_all_that_fits_is_one_line(capsys):
    model = nn.Linear(2, 2)
    load_state_dict(model, model.state_dict(), source='a file')
    assert capsys.readouterr().out == (
        'loaded 2 of 2 entries from a file: 0 missing, 0 unexpected, 0 of another shape\n'
    )


def test_nothing_loaded_says_where_the_weights_are():
    backbone, detector = nn.Sequential(nn.Linear(2, 2)), nn.Module()
    detector.backbone = backbone
    with pytest.raises(ValueError, match=r"The file has them below 'backbone\.': init_cfg=dict\(type='Pretrained'"):
        load_state_dict(backbone, detector.state_dict())
    with pytest.raises(ValueError, match=r"The model has them below 'backbone\.'.*model\.backbone\.init_cfg"):
        load_state_dict(detector, backbone.state_dict())
    with pytest.raises(ValueError, match=r'it needs backbone\.0\.weight, backbone\.0\.bias, the file has nothing'):
        load_state_dict(detector, {})


def test_a_two_stage_file_of_mmdetection_1_names_the_tool_that_converts_it(capsys):
    model = two_stage(80)
    state = {key.removeprefix('roi_head.'): value for key, value in model.state_dict().items()}
    load_state_dict(model, state)
    assert 'tools/model_converters/upgrade_model_version.py' in capsys.readouterr().out
