// Numbers alone follow what happens; rows never move under the hand. Without this script, the page says the same.
const all = (chosen) => document.querySelectorAll(chosen);
const put = (each, text) => { if (text !== undefined && text !== each.textContent) each.textContent = text; };
// What came since the page was made: a link that loads it, and nothing by itself.
function offer(each, words) {
  put(each.querySelector("a"), words);
  each.hidden = false;
}
function show({ numbers, counts, done }) {
  for (const each of all("[data-number]")) put(each, numbers[each.dataset.number]);
  for (const each of all("[data-new]")) {
    const more = counts[each.dataset.new] - Number(each.dataset.seen);
    if (more > 0) offer(each, `${more.toLocaleString("en")} new. Show`);
  }
  for (const each of all("[data-action]")) {
    const found = done[each.dataset.action];
    if (!found) continue;
    put(each.querySelector("[data-done]"), found.words);
    each.querySelector("progress").value = found.done;
    if (!found.runs) offer(each.querySelector("[data-ended]"), "It has ended. Show");
  }
}
// A browser has few connections for a server: a page that nobody sees gives its own back.
const action = document.querySelector("[data-action]")?.dataset.action;
let source;
function follow() {
  source?.close();
  source = undefined;
  if (document.hidden || !document.querySelector("[data-number], [data-new], [data-action]")) return;
  source = new EventSource(action ? `/follow?action=${action}` : "/follow");
  source.onmessage = (event) => show(JSON.parse(event.data));
}
document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", () => source?.close());
follow();
// A command that runs: look again, and leave the page alone once it has ended.
if (document.querySelector("[data-working]")) setTimeout(() => location.reload(), 1500);
// A second click sends nothing twice.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
