// Numbers alone follow what happens; rows never move under the hand. Without this script, the page says the same.
const shown = document.querySelectorAll("[data-number]");
async function follow() {
  try {
    const answer = await fetch("/numbers", { credentials: "same-origin" });
    if (!answer.ok) return;
    const { numbers } = await answer.json();
    for (const each of shown) {
      const value = numbers[each.dataset.number];
      if (value !== undefined && value !== each.textContent) each.textContent = value;
    }
  } catch {
    // The server is away: what is shown has its time beside it.
  }
}
if (shown.length) setInterval(() => document.hidden || follow(), 5000);
// A command that runs: look again, and leave the page alone once it has ended.
if (document.querySelector("[data-working]")) setTimeout(() => location.reload(), 1500);
// A second click sends nothing twice.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
