// A click on a heading sorts its table by that column; another click turns the order. Empty cells stay at the end.
for (const heading of document.querySelectorAll("th")) {
  heading.firstElementChild.addEventListener("click", () => {
    const table = heading.closest("table"), body = table.tBodies[0];
    const column = heading.cellIndex, turn = heading.ariaSort === "ascending" ? -1 : 1;
    for (const other of table.querySelectorAll("th")) other.ariaSort = "none";
    heading.ariaSort = turn === 1 ? "ascending" : "descending";
    const key = row => row.cells[column].dataset.number ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return turn * order;
    });
    body.append(...rows);
  });
}
