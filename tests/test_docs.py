"""What README and docs/ refer to is there: files, headings, names to import, paths of the repository."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    p for pattern in ('*.md', 'docs/*.md', 'configs/*/README.md', 'demo/*.md', 'tools/*.md') for p in ROOT.glob(pattern)
)
CODE = re.compile(r'^```.*?^```|`[^`\n]+`', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|(?:src|href)="([^"]+)"')
IMPORT = re.compile(r'^(?:>>> )?from (mmdet_clone[\w.]*) import (\([^)]*\)|.+)$', re.MULTILINE)
# paths as a reader types them, from the repository's root
COMMAND = re.compile(
    r'(?<![\w/.-])(?:\./)?((?:tools|demo|configs|tests|docs|requirements)/[\w./+-]+\.(?:py|sh|md|txt))'
)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(
        r'^#{1,6}\s+(.+?)\s*$', re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL), re.M
    )
    plain = (re.sub(r'[`*]|\[([^\]]*)\]\([^)]*\)', r'\1', heading) for heading in headings)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in plain}


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_links_lead_somewhere(page):
    broken = []
    for link in (a or b for a, b in LINK.findall(CODE.sub('', page.read_text()))):
        if re.match(r'[a-z]+:', link):  # another site
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == '.md' and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_what_the_examples_import_is_there(page):
    missing = []
    for module, names in IMPORT.findall(page.read_text()):
        loaded = importlib.import_module(module)
        for name in re.findall(r'[^\s,()]+', re.sub(r'#.*| as \w+', '', names)):
            missing += [f'{module}.{name}'] * (name != '...' and not hasattr(loaded, name))
    assert missing == []


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_files_that_a_page_names_are_there(page):
    found = set(COMMAND.findall(page.read_text()))
    assert [path for path in sorted(found) if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


def test_every_page_of_the_documentation_is_in_its_index():
    index = (ROOT / 'docs' / 'index.md').read_text()
    pages = sorted(page.stem for page in (ROOT / 'docs').glob('*.md') if page.stem != 'index')
    assert [page for page in pages if f'\n{page}\n' not in index] == []
