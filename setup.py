"""Packaging; the static metadata stand in setup.cfg, the dependencies in requirements/."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIREMENTS = Path(__file__).resolve().parent / 'requirements'


def requirements(name: str) -> list[str]:
    lines = (line.partition('#')[0].strip() for line in (REQUIREMENTS / f'{name}.txt').read_text().splitlines())
    return [line for line in lines if line]


extras = {name: requirements(name) for name in ('optional', 'tests', 'docs')}

setup(
    packages=find_packages(include=['mmdet_clone', 'mmdet_clone.*']),
    install_requires=requirements('runtime'),
    extras_require={**extras, 'all': sorted({line for lines in extras.values() for line in lines})},
)
