"""The frame of the html page of samples: its style and its script. ``{{NAME}}`` are filled by ``html_report``."""

STYLE = """
:root { color-scheme: light; --bg: #f5f6f8; --card: #fff; --ink: #1d2127; --pale: #667; --line: #d9dce2; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) {
  color-scheme: dark; --bg: #14161a; --card: #1f2228; --ink: #e8eaee; --pale: #9aa1ad; --line: #343943; } }
:root[data-theme=dark] {
  color-scheme: dark; --bg: #14161a; --card: #1f2228; --ink: #e8eaee; --pale: #9aa1ad; --line: #343943; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4em 1.2em; align-items: center;
  padding: .7em 1.2em; background: var(--card); border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.15em; }
#shown { color: var(--pale); }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); gap: 1em; padding: 1em;
  align-items: start; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
article[hidden] { display: none; }
.picture { position: relative; }
.picture img { display: block; width: 100%; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.box { fill: none; stroke: var(--c); stroke-width: 2; vector-effect: non-scaling-stroke; }
.ignored .box { stroke-dasharray: 6 4; }
.mask { fill: var(--c); fill-opacity: .4; stroke: var(--c); stroke-width: 1; vector-effect: non-scaling-stroke; }
.keypoints circle { fill: var(--c); stroke: #fff; stroke-width: 1; vector-effect: non-scaling-stroke; }
.label rect { fill: var(--c); }
.label text { font-family: system-ui, sans-serif; }
body.no-box .box, body.no-mask .mask, body.no-label .label, body.no-keypoints .keypoints { display: none; }
g.off { display: none; }
h2 { margin: .6em .9em .2em; font-size: 1em; overflow-wrap: anywhere; }
small { color: var(--pale); font-weight: normal; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8em; margin: 0 .9em .5em; font-size: .9em; }
dt { color: var(--pale); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 0 .9em .8em; font-size: .9em; }
summary { cursor: pointer; color: var(--pale); }
ol { margin: .4em 0 0; padding-left: 1.6em; }
ul { margin: 0 0 .3em; padding-left: 1em; color: var(--pale); }
code { font-size: .92em; overflow-wrap: anywhere; }
"""

SCRIPT = """
const $ = id => document.getElementById(id);
const articles = [...document.querySelectorAll('article')];
function show() {
  const label = $('class').value, name = $('name').value.trim().toLowerCase();
  let shown = 0;
  for (const article of articles) {
    const has = label === '' || article.dataset.labels.split(' ').includes(label);
    article.hidden = !(has && article.dataset.name.includes(name));
    shown += !article.hidden;
    for (const group of article.querySelectorAll('svg > g'))
      group.classList.toggle('off', label !== '' && group.dataset.label !== label);
  }
  $('shown').textContent = shown + ' of ' + articles.length + ' samples';
}
$('class').addEventListener('change', show);
$('name').addEventListener('input', show);
for (const kind of ['box', 'mask', 'label', 'keypoints'])
  $(kind).addEventListener('change', event => document.body.classList.toggle('no-' + kind, !event.target.checked));
$('theme').addEventListener('click', () => {
  const root = document.documentElement, dark = getComputedStyle(root).colorScheme === 'dark';
  root.dataset.theme = dark ? 'light' : 'dark';
});
if (location.hash.startsWith('#class=')) $('class').value = location.hash.slice(7);
show();
"""

PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{{{TITLE}}}}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{{{{TITLE}}}}</h1>
<span id="shown">{{{{COUNT}}}} samples</span>
<label>Class <select id="class"><option value="">all</option>{{{{CLASSES}}}}</select></label>
<label>File <input id="name" type="search" placeholder="part of its name"></label>
<label><input id="box" type="checkbox" checked> boxes</label>
<label><input id="mask" type="checkbox" checked> masks</label>
<label><input id="keypoints" type="checkbox" checked> keypoints</label>
<label><input id="label" type="checkbox" checked> labels</label>
<button id="theme" type="button">light / dark</button>
</header>
<main>
{{{{SAMPLES}}}}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""
