"""Registries: decorators in every form, one table for the model families, errors that say what to change."""

from __future__ import annotations

import mmengine.hooks
import mmengine.registry
import numpy as np
import pytest

from mmdet_clone import registry
from mmdet_clone.registry import ConfigTypeError, Registry, UnknownTypeError, build_from_cfg, type_name


@pytest.fixture
def parts() -> Registry:
    return Registry('part', location='json')


@pytest.fixture
def families(parts) -> tuple[Registry, Registry]:
    return parts, Registry('whole', location='json', shares=parts)


def test_decorator_works_with_and_without_parentheses_and_with_names(parts):
    @parts.register_module
    class Bare: ...

    @parts.register_module()
    class Called: ...

    @parts.register_module(name='Renamed')
    class Original: ...

    @parts.register_module(name=['One', 'Two'])
    class Several: ...

    parts.register_module(module=dict)
    assert parts.names() == ['Bare', 'Called', 'One', 'Renamed', 'Two', 'dict']
    assert parts.get('Renamed') is Original
    assert parts.get('One') is parts.get('Two') is Several


def test_a_taken_name_is_refused_unless_forced(parts):
    @parts.register_module
    class Part: ...

    with pytest.raises(KeyError, match='Part is already registered'):
        parts.register_module(module=type('Part', (), {}))
    other = type('Part', (), {})
    parts.register_module(module=other, force=True)
    assert parts.get('Part') is other


def test_a_family_finds_the_others_types_but_lists_its_own(families):
    parts, wholes = families

    @parts.register_module
    class Wheel: ...

    @wholes.register_module
    class Car: ...

    assert wholes.get('Wheel') is Wheel
    assert parts.get('Car') is Car
    assert (parts.names(), wholes.names()) == (['Wheel'], ['Car'])


def test_prefixes_of_other_libraries_resolve_to_our_names(parts):
    @parts.register_module
    class Wheel: ...

    assert parts.get('mmdet.Wheel') is parts.get('mmcls.Wheel') is Wheel
    kinds = [dict(type='mmdet.Wheel'), dict(type='Wheel'), dict(type=Wheel), dict(), Wheel]
    assert [type_name(kind) for kind in kinds] == ['Wheel', 'Wheel', 'Wheel', '', '']


def test_names_of_the_parent_registry_are_found():

    assert registry.HOOKS.get('ParamSchedulerHook') is mmengine.hooks.ParamSchedulerHook
    assert registry.OPTIMIZERS.get('SGD') is mmengine.registry.OPTIMIZERS.get('SGD')


def test_build_leaves_the_config_alone_and_fills_defaults(parts):
    @parts.register_module
    class Wheel:
        def __init__(self, size, color='black'):
            self.size, self.color = size, color

    cfg = dict(type='Wheel', size=3)
    wheel = build_from_cfg(cfg, parts, dict(color='red', size=5))
    assert (wheel.size, wheel.color) == (3, 'red')
    assert cfg == dict(type='Wheel', size=3)
    assert parts.build(dict(type=Wheel, size=1)).size == 1


def test_an_unknown_type_names_the_registry_the_nearest_names_and_the_import_line(parts):
    parts.register_module(module=type('ResNet', (), {}))
    with pytest.raises(UnknownTypeError) as error:
        parts.build(dict(type='ResNett'), path='model.backbone')
    message = str(error.value)
    assert "'ResNett' is not in the part registry (asked for by model.backbone)" in message
    assert 'Did you mean ResNet?' in message
    assert "custom_imports = dict(imports=['your_package.your_module']" in message


@pytest.fixture
def nested(families) -> Registry:
    parts, wholes = families

    @parts.register_module
    class Wheel:
        def __init__(self, size, color='black'): ...

    @wholes.register_module
    class Car:
        def __init__(self, wheels):
            self.wheels = [parts.build(dict(wheel)) for wheel in wheels]

    return wholes


def test_an_unknown_argument_names_the_class_the_path_and_what_is_accepted(nested):
    wheels = [dict(type='Wheel', size=1), dict(type='Wheel', size=1, colour='red')]
    with pytest.raises(ConfigTypeError) as error:
        nested.build(dict(type='Car', wheels=wheels), path='model')
    message = str(error.value)
    assert "Wheel does not accept 'colour' (config path: model.wheels.1)" in message
    assert "did you mean 'color'?" in message
    assert 'It accepts: size, color' in message


def test_a_missing_argument_names_the_class_and_the_path(nested):
    with pytest.raises(ConfigTypeError, match=r"Wheel needs 'size' \(config path: model\.wheels\.0\)"):
        nested.build(dict(type='Car', wheels=[dict(type='Wheel')]), path='model')


def test_the_path_is_that_of_the_dict_itself_where_another_is_equal(families):
    parts, wholes = families

    @parts.register_module
    class Bolt:
        def __init__(self, size): ...

    @wholes.register_module
    class Bike:
        def __init__(self, front, rear):
            self.rear = parts.build(rear)

    with pytest.raises(ConfigTypeError, match=r'\(config path: model\.rear\)'):
        wholes.build(dict(type='Bike', front=dict(type='Bolt'), rear=dict(type='Bolt')), path='model')


def test_arrays_in_a_config_are_no_obstacle(nested):
    wheels = [dict(type='Wheel', size=np.zeros(2)), dict(type='Wheel', size=np.ones(2))]
    assert len(nested.build(dict(type='Car', wheels=wheels)).wheels) == 2
    with pytest.raises(ConfigTypeError, match=r"does not accept 'colour' \(config path: model"):
        nested.build(dict(type='Car', wheels=[dict(wheel, colour=np.ones(2)) for wheel in wheels]), path='model')


def test_the_path_of_one_failed_build_does_not_leak_into_the_next(nested):
    with pytest.raises(ConfigTypeError):
        nested.build(dict(type='Car'), path='model')
    with pytest.raises(ConfigTypeError, match=r"needs 'wheels' \(config path: other\)"):
        nested.build(dict(type='Car'), path='other')


def test_a_class_that_takes_any_keyword_is_not_second_guessed(parts):
    @parts.register_module
    class Anything:
        def __init__(self, **kwargs):
            self.kwargs = kwargs

    assert parts.build(dict(type='Anything', color='red')).kwargs == {'color': 'red'}


def test_an_unknown_argument_handed_on_by_kwargs_is_told_like_any_other(parts):
    class Base:
        def __init__(self, size, color='black'): ...

    @parts.register_module
    class Derived(Base):
        def __init__(self, groups=1, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(
        ConfigTypeError, match=r"Derived does not accept 'colour' \(config path: model\.part\)"
    ) as error:
        parts.build(dict(type='Derived', size=1, colour='red'), path='model.part')
    assert 'It accepts: groups, size, color' in str(error.value)


def test_a_type_error_inside_a_constructor_is_left_as_it_is(parts):
    @parts.register_module
    class Broken:
        def __init__(self, size):
            dict.fromkeys(1)

    with pytest.raises(TypeError, match='not iterable') as error:
        parts.build(dict(type='Broken', size=1))
    assert not isinstance(error.value, ConfigTypeError)


@pytest.mark.parametrize('cfg', [None, 'ResNet', ['ResNet'], {}])
def test_what_is_no_config_is_refused_with_what_was_given(parts, cfg):
    with pytest.raises((TypeError, KeyError), match='part'):
        parts.build(cfg)


def test_every_registry_the_configs_need_is_filled_on_demand():
    names = ['MODELS', 'BACKBONES', 'NECKS', 'HEADS', 'ROI_EXTRACTORS', 'DETECTORS', 'LOSSES', 'DATASETS', 'PIPELINES']
    names += [
        'BBOX_ASSIGNERS',
        'BBOX_SAMPLERS',
        'BBOX_CODERS',
        'IOU_CALCULATORS',
        'PRIOR_GENERATORS',
        'HOOKS',
        'RUNNERS',
    ]
    for name in names[1:]:
        assert getattr(registry, name).names(), name
    assert registry.HEADS.get('ResNet') is registry.BACKBONES.get('ResNet')
