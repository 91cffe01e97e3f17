"""``custom_imports``: where modules are looked for, and what is said when they fail."""

from __future__ import annotations

import sys

import pytest

from mmdet_clone.aliases import turn_off
from mmdet_clone.config import load_config


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to write modules and configs in; the process's imports are as before afterwards."""
    monkeypatch.setattr(sys, 'path', [*sys.path])
    before = set(sys.modules)

    def write(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield write
    turn_off()
    for name in [name for name in sys.modules if name not in before and name.startswith('own_')]:
        del sys.modules[name]


def imports(*names: str, allow: bool = False) -> str:
    return f'custom_imports = dict(imports={list(names)}, allow_failed_imports={allow})'


def test_a_module_beside_the_config_is_found_from_any_folder(project, monkeypatch):
    project('own_beside.py', 'x = 1')
    monkeypatch.chdir('/')
    load_config(project('c.py', imports('own_beside')))
    assert sys.modules['own_beside'].x == 1


def test_a_package_in_the_working_folder_is_found(project, monkeypatch):
    root = project('own_package/__init__.py', '').parent.parent
    project('own_package/part.py', 'x = 2')
    monkeypatch.chdir(root)
    load_config(project('configs/c.py', imports('own_package.part')))
    assert sys.modules['own_package.part'].x == 2


def test_an_installed_package_goes_before_a_namesake_in_the_working_folder(project, monkeypatch):
    monkeypatch.chdir(project('json/__init__.py', 'raise RuntimeError').parent.parent)
    load_config(project('c.py', imports('json.decoder')))


def test_a_missing_module_names_the_file_looked_for_and_the_folders(project):
    path = project('c.py', imports('own_missing.part'))
    with pytest.raises(ImportError) as error:
        load_config(path)
    message = str(error.value)
    assert f"custom_imports of {path}: no module named 'own_missing'" in message
    assert 'own_missing/part.py' in message
    assert f'\n  {path.parent}' in message
    assert 'PYTHONPATH=/that/folder' in message


def test_a_file_path_is_answered_with_the_module_name(project):
    with pytest.raises(ImportError, match=r"is a file path; write the module name, 'own_models.part'"):
        load_config(project('c.py', imports('./own_models/part.py')))


def test_a_module_that_fails_names_its_file_and_the_error(project):
    module = project('own_broken.py', 'import a_module_that_is_not_there')
    with pytest.raises(ImportError, match=r'a_module_that_is_not_there') as error:
        load_config(project('c.py', imports('own_broken')))
    assert f"'own_broken' ({module}, line 1) could not be imported" in str(error.value)


@pytest.mark.parametrize('line', ['x = undefined', 'x = ('])
def test_the_line_of_a_module_that_fails_is_named(project, line):
    module = project('own_lines.py', f'import sys\n\n{line}\n')
    with pytest.raises(ImportError, match=rf'{module}, line 3\) could not be imported'):
        load_config(project('c.py', imports('own_lines')))


def test_failures_that_are_allowed_leave_a_line(project, capsys, monkeypatch):
    said = []
    monkeypatch.setattr('mmdet_clone.config.custom_imports.print_log', lambda text, *_: said.append(text))
    load_config(project('c.py', imports('own_missing', allow=True)))
    assert len(said) == 1 and "'own_missing' is left out" in said[0]


def test_zoo_configs_that_import_mmcls_load_without_it(project, monkeypatch):
    said = []
    monkeypatch.setattr('mmdet_clone.config.custom_imports.print_log', lambda text, *_: said.append(text))
    monkeypatch.setitem(sys.modules, 'mmcls', None)  # as if not installed
    cfg = load_config(project('c.py', imports('mmcls.models') + "\nmodel = dict(backbone=dict(type='mmcls.ConvNeXt'))"))
    assert cfg.model.backbone.type == 'mmcls.ConvNeXt'
    assert len(said) == 1 and 'mmcls.models' in said[0]


@pytest.mark.parametrize('entry', ["dict(import_=['a'])", 'dict(imports=[1])'])
def test_a_malformed_entry_shows_the_right_form(project, entry):
    with pytest.raises(ValueError, match=r'custom_imports is written dict\(imports='):
        load_config(project('c.py', f'custom_imports = {entry}'))
