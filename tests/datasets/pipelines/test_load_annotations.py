from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmdet_clone.datasets.pipelines import FilterAnnotations, LoadAnnotations, LoadProposals, MissingKeyError
from mmdet_clone.structures import BitmapMasks, PolygonMasks

SQUARE = [2.0, 1, 6, 1, 6, 4, 2, 4]


def entry(masks=None, **ann) -> dict:
    ann_info = dict(
        bboxes=np.array([[2, 1, 6, 4]], np.float32),
        labels=np.array([7]),
        bboxes_ignore=np.zeros((0, 4), np.float32),
    )
    ann_info.update(ann)
    if masks is not None:
        ann_info['masks'] = masks
    return dict(
        img_info=dict(id=139, filename='x/139.jpg', height=8, width=10),
        ann_info=ann_info,
        img_shape=(8, 10, 3),
        seg_prefix=None,
        bbox_fields=[],
        mask_fields=[],
        seg_fields=[],
    )


def bitmap() -> np.ndarray:
    mask = np.zeros((8, 10), np.uint8)
    mask[1:4, 2:6] = 1
    return mask


def test_boxes_and_labels_are_copies():
    sample = entry()
    results = LoadAnnotations()(sample)
    assert results['gt_bboxes'].tolist() == [[2, 1, 6, 4]] and results['gt_labels'].tolist() == [7]
    assert results['gt_bboxes_ignore'].shape == (0, 4)
    assert sorted(results['bbox_fields']) == ['gt_bboxes', 'gt_bboxes_ignore']
    assert results['mask_fields'] == [] and 'gt_masks' not in results
    results['gt_bboxes'] += 1
    results['gt_labels'] += 1
    assert sample['ann_info']['bboxes'].tolist() == [[2, 1, 6, 4]] and sample['ann_info']['labels'].tolist() == [7]


def test_flags_leave_parts_out():
    results = LoadAnnotations(with_bbox=False, with_label=False)(entry())
    assert 'gt_bboxes' not in results and 'gt_labels' not in results and results['bbox_fields'] == []


@pytest.mark.parametrize('option', ['denorm_bbox', 'normed_bbox'])
def test_boxes_given_as_shares_become_pixels(option):
    shares = np.array([[0.2, 0.125, 0.6, 0.5]], np.float32)
    results = LoadAnnotations(**{option: True})(entry(bboxes=shares))
    np.testing.assert_allclose(results['gt_bboxes'], [[2, 1, 6, 4]], rtol=1e-6)
    assert results['gt_bboxes'].dtype == np.float32


def compressed_rle() -> dict:
    return mask_utils.encode(np.asfortranarray(bitmap()))


def uncompressed_rle() -> dict:
    # column by column: 2 columns and 1 pixel of background, 3 of the mask, 5 of background, ...
    return dict(size=[8, 10], counts=[17, 3, 5, 3, 5, 3, 5, 3, 36])


@pytest.mark.parametrize(
    'mask',
    [
        [SQUARE],
        [SQUARE, [0.0, 0]],
        [np.array(SQUARE)],
        uncompressed_rle(),
        compressed_rle(),
        dict(size=[8, 10], counts=compressed_rle()['counts'].decode()),
        bitmap(),
    ],
    ids=['polygon', 'with a broken part', 'array', 'RLE', 'compressed', 'compressed text', 'bitmap'],
)
def test_every_form_of_mask_gives_the_same_bitmap(mask):
    results = LoadAnnotations(with_mask=True)(entry([mask]))
    assert isinstance(results['gt_masks'], BitmapMasks) and results['mask_fields'] == ['gt_masks']
    assert (results['gt_masks'].masks[0] == bitmap()).all() and results['gt_masks'].masks.dtype == np.uint8


def test_masks_can_stay_polygons():
    results = LoadAnnotations(with_mask=True, poly2mask=False)(entry([[SQUARE, [0.0, 0, 1, 1]]]))
    assert isinstance(results['gt_masks'], PolygonMasks)
    assert [p.tolist() for p in results['gt_masks'].masks[0]] == [SQUARE]  # the part of 2 points is dropped


def test_an_image_without_objects_has_empty_masks():
    none = dict(bboxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, int))
    for poly2mask in (True, False):
        masks = LoadAnnotations(with_mask=True, poly2mask=poly2mask)(entry([], **none))['gt_masks']
        assert len(masks) == 0 and (masks.height, masks.width) == (8, 10)


def test_a_semantic_map_is_read_below_its_prefix(tmp_path):
    seg = np.arange(80, dtype=np.uint8).reshape(8, 10)
    cv2.imwrite(str(tmp_path / '139.png'), seg)
    results = LoadAnnotations(with_seg=True)(dict(entry(seg_map='139.png'), seg_prefix=str(tmp_path)))
    assert (results['gt_semantic_seg'] == seg).all() and results['seg_fields'] == ['gt_semantic_seg']
    with pytest.raises(FileNotFoundError, match=r"semantic map not found: .*140.png.*seg_prefix '"):
        LoadAnnotations(with_seg=True)(dict(entry(seg_map='140.png'), seg_prefix=str(tmp_path)))


@pytest.mark.parametrize('poly2mask', [True, False])
@pytest.mark.parametrize('missing', [None, []])
def test_a_missing_segmentation_is_named_by_image_and_annotation_with_flag_and_key(poly2mask, missing):
    with pytest.raises(ValueError) as error:
        LoadAnnotations(with_mask=True, poly2mask=poly2mask)(entry([[SQUARE], missing], ann_ids=[41, 42]))
    message = str(error.value)
    assert 'annotation id 42 of image x/139.jpg (image id 139)' in message
    assert 'LoadAnnotations(with_mask=True)' in message and 'with_mask=False in data.train.pipeline' in message


def test_annotations_without_ids_are_counted():
    with pytest.raises(ValueError, match=r'annotation 1 \(from 0\) of image x/139.jpg'):
        LoadAnnotations(with_mask=True)(entry([[SQUARE], None]))


def test_a_dataset_without_masks_cannot_give_them():
    with pytest.raises(ValueError, match=r'image x/139.jpg \(image id 139\) holds no masks.*with_mask=True'):
        LoadAnnotations(with_mask=True)(entry())


def test_a_mask_of_another_size_is_an_error_with_both_sizes():
    with pytest.raises(ValueError, match=r'annotation 0 .* 5 x 4 pixels .* image 10 x 8'):
        LoadAnnotations(with_mask=True)(entry([mask_utils.encode(np.zeros((4, 5), np.uint8, order='F'))]))


def test_an_rle_cannot_stay_a_polygon():
    with pytest.raises(ValueError, match='set poly2mask=True'):
        LoadAnnotations(with_mask=True, poly2mask=False)(entry([compressed_rle()]))


def test_a_flat_polygon_is_refused():
    with pytest.raises(ValueError, match='list of polygons'):
        LoadAnnotations(with_mask=True)(entry([SQUARE]))


def test_missing_annotations_name_the_flag():
    with pytest.raises(MissingKeyError, match=r'with_seg=True.*seg_map.*image x/139.jpg'):
        LoadAnnotations(with_seg=True)(entry())
    with pytest.raises(MissingKeyError, match='not in test mode'):
        LoadAnnotations()(dict(img_info={}))


@pytest.mark.parametrize('columns', [4, 5])
def test_proposals_lose_scores_and_the_last_rows(columns):
    proposals = np.arange(3 * columns, dtype=np.float32).reshape(3, columns)
    results = LoadProposals(num_max_proposals=2)(dict(proposals=proposals, bbox_fields=[]))
    assert results['proposals'].tolist() == proposals[:2, :4].tolist() and results['bbox_fields'] == ['proposals']
    assert len(LoadProposals()(dict(proposals=proposals))['proposals']) == 3


def test_proposals_are_a_copy_in_single_precision():
    stored = np.ones((2, 5))
    proposals = LoadProposals()(dict(proposals=stored))['proposals']
    proposals += 1
    assert proposals.dtype == np.float32 and (stored == 1).all()


def test_no_proposal_becomes_one_of_no_size():
    assert LoadProposals()(dict(proposals=np.zeros((0, 5))))['proposals'].tolist() == [[0, 0, 0, 0]]


def test_proposals_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r'\(n, 4\) or \(n, 5\).*got \(2, 3\)'):
        LoadProposals()(dict(proposals=np.zeros((2, 3))))


def test_small_instances_are_filtered_by_box_or_mask(square_sample):
    sample = square_sample(boxes=[(0, 0, 4, 9), (10, 10, 30, 30), (40, 40, 60, 41)])
    by_box = FilterAnnotations(min_gt_bbox_wh=(4, 4))(dict(sample))
    assert by_box['gt_labels'].tolist() == [1] and len(by_box['gt_masks']) == 1
    by_mask = FilterAnnotations(min_gt_mask_area=21, by_box=False, by_mask=True)(dict(sample))
    assert by_mask['gt_labels'].tolist() == [0, 1]
    assert FilterAnnotations(min_gt_bbox_wh=(50, 50))(dict(sample)) is None
    assert len(FilterAnnotations(min_gt_bbox_wh=(50, 50), keep_empty=False)(dict(sample))['gt_bboxes']) == 0
