"""``--cfg-options key.path=value``: parsing on the command line, merging into a config."""

from __future__ import annotations

import argparse
import ast
import copy
from typing import Any

from mmengine.config import Config


class DictAction(argparse.Action):
    """Collects ``KEY=VALUE`` arguments into a dict: ``a.b=1 x=[1,2] y="[(1,2),(3,4)]" z=1,2 name=text``.

    Values are numbers, ``True``/``False``, ``None``, lists in ``[]`` or separated by commas, tuples in ``()``, dicts in
    Python's notation, else text. A list that needs spaces in its strings quotes them: ``classes="['traffic light']"``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        options = copy.copy(getattr(namespace, self.dest, None) or {})
        for pair in values or []:
            key, equals, value = pair.partition('=')
            if not (key and equals):
                parser.error(f'{option_string} takes KEY=VALUE (for instance data.samples_per_gpu=4), got {pair!r}')
            options[key.strip()] = parse_value(value)
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The Python value that the right side of an option means."""
    text = text.strip()
    if text[:1] in ('[', '(', '{', '"', "'"):
        try:
            value = ast.literal_eval(text)
            return (value,) if text[0] == '(' and not isinstance(value, tuple) else value
        except (ValueError, SyntaxError):  # brackets around bare words
            pass
    if text[:1] + text[-1:] in ('[]', '()'):
        items = [parse_value(item) for item in _split(text[1:-1])]
        return items if text[0] == '[' else tuple(items)
    pieces = _split(text)
    if len(pieces) > 1 or text.endswith(','):
        return [parse_value(piece) for piece in pieces]
    return _scalar(text)


def _scalar(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return {'true': True, 'false': False, 'none': None}.get(text.lower(), text.strip('\'"'))


def _split(text: str) -> list[str]:
    """``text`` cut at the commas that stand outside brackets; a comma at the end closes the last piece."""
    pieces, depth = [''], 0
    for char in text:
        depth += (char in '[({') - (char in '])}')
        if char == ',' and depth == 0:
            pieces.append('')
        else:
            pieces[-1] += char
    return pieces if pieces[-1].strip() else pieces[:-1]


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Set dotted keys of ``cfg`` in place; a number in a key is an index into a list (``pipeline.2.img_scale``).

    A ``None`` on the way becomes a dict, so that ``optimizer_config.grad_clip.max_norm=35`` says all that is needed.
    """
    for key, value in options.items():
        try:
            _open(cfg._cfg_dict, key.split('.')[:-1])
            cfg.merge_from_dict({key: copy.deepcopy(value)})
        except Exception as error:
            detail = error.args[0] if error.args else error
            raise ValueError(f'--cfg-options {key}={value}: {_reason(cfg, key) or detail}') from error


def _open(node: Any, parents: list[str]) -> None:
    for part in parents:
        if isinstance(node, dict) and part in node:
            if node[part] is None:
                node[part] = {}
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return


def _reason(cfg: Config, key: str) -> str:
    """Why ``key`` leads nowhere in ``cfg``."""
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for i, part in enumerate(parts):
        place = '.'.join(parts[:i]) or 'the config'
        if isinstance(node, dict):
            if part not in node:
                return ''
            node = node[part]
        elif isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                return f'{place} is a list of {len(node)}, so its keys are 0 to {len(node) - 1}, not {part!r}'
            node = node[int(part)]
        else:
            return f'{place} is {node!r}, so it has no {part!r}: set {place} as a whole'
    return ''
