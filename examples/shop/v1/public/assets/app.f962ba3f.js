document.getElementById("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/order", { method: "POST", body: JSON.stringify({ item: "a book", count: 1 }) });
  const order = await answer.json();
  document.getElementById("said").textContent = `Order ${order.order} is on its way.`;
});
