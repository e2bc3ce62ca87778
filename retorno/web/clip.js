// A clip: pictures one after another, again and again, with a slider on which somebody may stop and look.
function retornoClip(id, frames, milliseconds) {
  const host = getHtmlElement(id);
  if (!host) return;
  if (host.retornoStop) host.retornoStop();
  const picture = document.createElement("img"), slider = document.createElement("input");
  picture.alt = "";
  Object.assign(slider, { type: "range", min: 0, max: frames.length - 1, value: 0 });
  host.replaceChildren(picture, slider);
  let now = 0, held = false;
  const show = () => { picture.src = frames[now]; slider.value = now; };
  slider.addEventListener("click", (event) => event.stopPropagation());
  slider.addEventListener("pointerdown", () => (held = true));
  slider.addEventListener("pointerup", () => { held = false; slider.blur(); });
  slider.addEventListener("input", () => { now = Number(slider.value); show(); });
  // The last picture stays a little, so that one sees where the clip begins again.
  const timer = setInterval(() => {
    if (held) return;
    now = now + 1 >= frames.length + 5 ? 0 : now + 1;
    picture.src = frames[Math.min(now, frames.length - 1)];
    slider.value = Math.min(now, frames.length - 1);
  }, milliseconds);
  host.retornoStop = () => clearInterval(timer);
  show();
}
