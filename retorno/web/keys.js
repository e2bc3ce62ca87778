// Keys that are pressed outside of fields go to the page; a focused button keeps Enter and the space bar.
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const at = document.activeElement;
  const tag = at ? at.tagName : "BODY";
  if (["INPUT", "TEXTAREA", "SELECT"].includes(tag) || (at && at.isContentEditable)) return;
  if (["BUTTON", "A"].includes(tag) && ["Enter", " "].includes(event.key)) return;
  if (document.querySelector(".q-dialog")) return;
  let key = event.key;
  // Shift and a digit write other signs on each keyboard.
  if (event.shiftKey && /^Digit[0-9]$/.test(event.code)) key = "Shift+" + event.code.slice(5);
  if (["Tab", "Shift"].includes(key)) return;
  if (["Backspace", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "/"].includes(key)) event.preventDefault();
  emitEvent("retorno_key", key);
});
// A button that was clicked with a mouse or finger does not keep the keyboard.
document.addEventListener("pointerup", () => setTimeout(() => {
  const at = document.activeElement;
  if (at && at.tagName === "BUTTON" && !at.closest(".q-dialog")) at.blur();
}, 0));
// What is said while the server is away.
function retornoLost(said) {
  const watch = () => {
    if (!window.socket) return setTimeout(watch, 200);
    const bar = Object.assign(document.createElement("div"), { className: "lost", textContent: said, hidden: true });
    bar.setAttribute("role", "alert");
    document.body.append(bar);
    window.socket.on("disconnect", () => (bar.hidden = false));
    window.socket.on("connect", () => (bar.hidden = true));
  };
  watch();
}
