"""A table while it learns, as one self-contained page with a slider over training.

Nothing is loaded from elsewhere: the looks are data in the page, drawn as SVG by a short script.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from retorno.core.mdp import MDP
from retorno.plots.film import shown_values
from retorno.plots.places import Kind, arrows, whole_map
from retorno.run.folder import write_atomic
from retorno.run.table_monitor import Look


def film_page(model: MDP, looks: Sequence[Look], title: str = "") -> str:
    """The page as HTML.

    Args:
        model: the world's, with a map.
        looks: in their order.
        title: at the top.
    """
    whole, heading = whole_map(model), arrows(model)
    cells = {at: one.state for at, one in whole.items() if one.state is not None and one.kind is Kind.ACTING}
    frames = []
    for look in looks:
        values, best = shown_values(model, look)
        frames.append(
            {
                "step": look.step,
                "agent": look.agent,
                "value": [_rounded(values[s]) for s in cells.values()],
                "best": [[heading[s, a] for a in best[s] if (s, a) in heading] for s in cells.values()],
                "visits": [int(look.visits[s]) for s in cells.values()],
                "error": [_rounded(look.error[s]) for s in cells.values()],
                "return": _rounded(look.mean_return),
                "regret": _rounded(look.regret),
            }
        )
    data = {
        "cells": [
            {"state": s, "name": model.state_names[s], "row": at[0], "column": at[1], "start": whole[at].start}
            for at, s in cells.items()
        ],
        "others": [
            {"state": one.state, "kind": one.kind.value, "row": at[0], "column": at[1]}
            for at, one in whole.items()
            if at not in cells
        ],
        "frames": frames,
        "colours": [
            "#" + "".join(f"{round(255 * c):02x}" for c in matplotlib.colormaps["cividis"](x)[:3])
            for x in np.linspace(0, 1, 64)
        ],
    }
    # "</script>" in a name must not end the script.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return _PAGE.replace("__TITLE__", escape(title)).replace("__DATA__", text)


def save_film_page(model: MDP, looks: Sequence[Look], path: str | Path, title: str = "") -> Path:
    """Write the page; folders are made, and a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, film_page(model, looks, title))
    return path


def _rounded(x: Any) -> float | None:
    """Five significant digits; null for what is not known."""
    return float(f"{x:.5g}") if math.isfinite(x) else None


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>__TITLE__</title>
<style>
:root { --ink: #22262d; --muted: #666c76; --rule: #d9dce1; --paper: #fefefe; --line: #0072b2; --goal: #009e73;
  --agent: #d55e00; --wall: #b9bdc5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6ea; --muted: #a0a6b1; --rule: #383d46; --paper: #16181d;
  --line: #4ba3e0; --goal: #2fc59a; --agent: #f0803c; --wall: #565c68; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.25rem 3rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .8rem; }
.controls { display: flex; gap: .8rem; align-items: center; position: sticky; top: 0; background: var(--paper);
  padding: .5rem 0; border-bottom: 1px solid var(--rule); }
.controls input { flex: 1; min-width: 6rem; accent-color: var(--line); }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--rule); border-radius: 6px;
  padding: .25rem .9rem; cursor: pointer; min-width: 5rem; }
#step { font-variant-numeric: tabular-nums; min-width: 9rem; text-align: right; }
h2 { font-size: .95rem; font-weight: 600; margin: 1.2rem 0 .3rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; }
@media (max-width: 36rem) { .pair { grid-template-columns: 1fr; } }
svg { display: block; width: 100%; height: auto; }
text { font-family: inherit; font-variant-numeric: tabular-nums; }
.said { color: var(--muted); font-weight: 400; }
p { color: var(--muted); font-size: .875rem; }
</style>
</head>
<body>
<h1>__TITLE__</h1>
<div class="controls">
  <button id="play" type="button">Play</button>
  <input id="slider" type="range" min="0" value="0" aria-label="training">
  <span id="step"></span>
</div>
<h2>Values <span class="said">with the best actions; the disc is the agent</span></h2>
<svg id="value" role="img" aria-label="value map"></svg>
<div class="pair">
  <div><h2>Visits <span class="said">so far, logarithm</span></h2>
    <svg id="visits" role="img" aria-label="visits"></svg></div>
  <div><h2>TD errors <span class="said">since the look before, logarithm</span></h2>
    <svg id="error" role="img" aria-label="TD errors"></svg></div>
  <div><h2>Return while learning <span class="said" id="returned"></span></h2>
    <svg id="return" role="img" aria-label="return"></svg></div>
  <div><h2>Exact regret of the greedy policy <span class="said" id="regretted"></span></h2>
    <svg id="regret" role="img" aria-label="regret"></svg></div>
</div>
<p id="legend"></p>
<p>Looks lie close together at first. Grey cells were not visited since the look before. Keys: left and right.</p>
<script type="application/json" id="data">__DATA__</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { cells, others, frames, colours } = data, all = [...cells, ...others];
const rows = 1 + Math.max(...all.map(c => c.row)), columns = 1 + Math.max(...all.map(c => c.column));
const signs = { goal: ["\\u2605", "var(--goal)"], pit: ["\\u2715", "var(--agent)"], cliff: ["\\u2715", "var(--agent)"],
  end: ["\\u25a0", "var(--muted)"] };
const get = id => document.getElementById(id), SIZE = 100;
const make = (parent, tag, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
};
const known = list => list.filter(x => x !== null && Number.isFinite(x));
const span = list => { const all = known(list); return all.length ? [Math.min(...all), Math.max(...all)] : [0, 1]; };
const log = x => x === null ? null : Math.log1p(x);
const kinds = {
  value: { of: f => f.value, scale: span(frames.flatMap(f => f.value)) },
  visits: { of: f => f.visits.map(log), scale: [0, span(frames.flatMap(f => f.visits.map(log)))[1]] },
  error: { of: f => f.error.map(log), scale: [0, span(frames.flatMap(f => f.error.map(log)))[1]] },
};
const share = (x, [low, high]) => high > low ? (x - low) / (high - low) : 0;
const colour = (x, scale) => colours[Math.round(Math.min(1, Math.max(0, share(x, scale))) * (colours.length - 1))];
const light = hex => 0.299 * parseInt(hex.slice(1, 3), 16) + 0.587 * parseInt(hex.slice(3, 5), 16)
  + 0.114 * parseInt(hex.slice(5), 16) > 128;
const told = x => x === null ? "–" : String(Number(x.toPrecision(4))).replace("-", "\\u2212");

const boxes = {};
for (const kind of Object.keys(kinds)) {
  const svg = get(kind);
  svg.setAttribute("viewBox", `0 0 ${columns * SIZE} ${rows * SIZE}`);
  svg.style.maxWidth = `${columns * (kind === "value" ? 76 : 40)}px`;
  boxes[kind] = cells.map(c => {
    const group = make(svg, "g", { transform: `translate(${c.column * SIZE} ${c.row * SIZE})` });
    const box = make(group, "rect", { x: 2, y: 2, width: SIZE - 4, height: SIZE - 4, fill: "var(--paper)",
      stroke: c.start ? "var(--agent)" : "none", "stroke-width": c.start ? 5 : 2 });
    const name = make(group, "title", {}, c.name);
    const ink = make(group, "g", {});
    return { box, ink, name };
  });
  for (const c of others) {
    const group = make(svg, "g", { transform: `translate(${c.column * SIZE} ${c.row * SIZE})` });
    make(group, "rect", { x: 2, y: 2, width: SIZE - 4, height: SIZE - 4, stroke: "var(--rule)",
      fill: c.kind === "wall" ? "var(--wall)" : "var(--paper)" });
    const [sign, tone] = signs[c.kind] ?? [];
    if (sign) make(group, "text", { x: 50, y: 68, "text-anchor": "middle", "font-size": 52, fill: tone }, sign);
    make(group, "title", {}, c.kind);
  }
}
const there = new Set(others.map(c => c.kind));
get("legend").textContent = ["orange frame: start", ...["goal", "pit", "cliff", "end"].filter(k => there.has(k))
  .map(k => `${signs[k][0]} ${k}`), ...(there.has("wall") ? ["grey block: wall"] : [])].join(" \\u00b7 ");
const agent = make(get("value"), "circle", { r: 13, fill: "var(--agent)", stroke: "#fff", "stroke-width": 3 });

const curves = ["return", "regret"].map(name => {
  const svg = get(name), series = frames.map(f => f[name]), [low, high] = span(series);
  svg.setAttribute("viewBox", "0 0 440 150");
  const at = i => [i / Math.max(1, frames.length - 1) * 380, 132 - 118 * share(series[i], [low, high])];
  const points = upto => series.map((x, i) => x === null || i > upto ? "" : at(i).join(",")).join(" ");
  make(svg, "line", { x1: 0, x2: 380, y1: 136, y2: 136, stroke: "var(--rule)" });
  make(svg, "polyline", { points: points(frames.length), fill: "none", stroke: "var(--rule)", "stroke-width": 2 });
  for (const [y, x] of [[18, high], [136, low]])
    make(svg, "text", { x: 388, y, "font-size": 12, fill: "var(--muted)" }, told(x));
  const line = make(svg, "polyline", { fill: "none", stroke: "var(--line)", "stroke-width": 2.5 });
  return upto => line.setAttribute("points", points(upto));
});

function show(number) {
  const frame = frames[number];
  for (const [kind, { of, scale }] of Object.entries(kinds)) {
    of(frame).forEach((x, i) => {
      const { box, ink, name } = boxes[kind][i];
      const fill = x === null ? "var(--rule)" : colour(x, scale);
      box.setAttribute("fill", fill);
      if (kind !== "value") { name.textContent = `${cells[i].name}: ${told(frame[kind][i])}`; return; }
      ink.replaceChildren();
      const tone = fill[0] === "#" && light(fill) ? "#101318" : "#ffffff";
      make(ink, "text", { x: 50, y: 56, "text-anchor": "middle", "font-size": 19, fill: tone },
        x === null ? "" : told(Number(x.toPrecision(3))));
      for (const [down, right] of frame.best[i]) {
        const length = Math.hypot(down, right);
        const [x, y] = [right / length, down / length], tip = 46, base = 35, wide = 8;
        const at = (along, across) => [50 + along * x - across * y, 50 + along * y + across * x];
        make(ink, "polygon", { fill: tone, points: [at(tip, 0), at(base, wide), at(base, -wide)] });
      }
    });
  }
  const stands = all.find(c => c.state === frame.agent);
  agent.setAttribute("visibility", stands ? "visible" : "hidden");
  if (stands) { agent.setAttribute("cx", stands.column * SIZE + 76); agent.setAttribute("cy", stands.row * SIZE + 24); }
  curves.forEach(draw => draw(number));
  get("returned").textContent = told(frame.return);
  get("regretted").textContent = told(frame.regret);
  get("step").textContent = `step ${frame.step.toLocaleString("en")}`;
  get("slider").value = number;
}
const slider = get("slider"), button = get("play");
slider.max = frames.length - 1;
slider.addEventListener("input", () => show(Number(slider.value)));
let timer = null;
const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
button.addEventListener("click", () => {
  if (timer !== null) return stop();
  if (Number(slider.value) >= frames.length - 1) slider.value = 0;
  button.textContent = "Pause";
  timer = setInterval(() => {
    show(Number(slider.value));
    if (Number(slider.value) >= frames.length - 1) return stop();
    slider.value = Number(slider.value) + 1;
  }, 120);
});
const asked = Number(location.hash.slice(1));
show(location.hash && asked >= 0 && asked < frames.length ? asked : frames.length - 1);
</script>
</body>
</html>
"""
