// The cost by day and DAG: stacked columns, and the same numbers as a table.

import { OTHER, type Day, type Sums } from "./costs.ts";
import { element, svg, type Child } from "./dom.ts";
import { dollars } from "./format.ts";

const WIDTH = 640;
const HEIGHT = 120;
/** Room above the columns for the sums, and below for the days. */
const HEAD = 16;
const FOOT = 18;
/** Least width of a column with room for its texts. */
const LEGIBLE = 40;
const GAP = 0.25;
/** Widest column. Chosen: one day does not fill the chart. */
const WIDEST = 80;

export function chart(sums: Sums): HTMLElement {
  const dearest = Math.max(...sums.days.map((day) => day.total));
  const step = Math.min(WIDTH / sums.days.length, WIDEST);
  const said =
    `Cost by day and DAG: ${dollars(sums.total)} in all, ` +
    `${dollars(dearest)} on the dearest of ${sums.days.length} days with a cost.`;
  const picture = { viewBox: `0 ${-HEAD} ${WIDTH} ${HEAD + HEIGHT + FOOT}`, role: "img", "aria-label": said, class: "chart" };
  const columns = sums.days.map((day, place) => column(day, sums.dags, place * step, step, dearest));
  return element("div", {}, svg("svg", picture, ...columns.flat()), legend(sums.dags), numbers(sums));
}

function column(day: Day, dags: readonly string[], left: number, step: number, dearest: number): Child[] {
  let top = HEIGHT;
  const boxes = day.parts.map((amount, place) => {
    const height = dearest > 0 ? (amount / dearest) * HEIGHT : 0;
    top -= height;
    const size = { x: left + (step * GAP) / 2, y: top, width: step * (1 - GAP), height };
    return svg("rect", { class: `dag-${place}`, ...size }, svg("title", {}, `${day.day}, ${dags[place]}: ${dollars(amount)}`));
  });
  if (step < LEGIBLE) return boxes;
  const middle = { x: left + step / 2, "text-anchor": "middle" };
  const sum = svg("text", { ...middle, y: top - 4 }, dollars(day.total));
  return [...boxes, sum, svg("text", { ...middle, y: HEIGHT + FOOT - 5 }, day.day.slice(5))];
}

function legend(dags: readonly string[]): HTMLElement {
  const entries = dags.map((dag, place) => {
    const box = svg("svg", { class: "key", viewBox: "0 0 10 10", "aria-hidden": "true" });
    box.append(svg("rect", { class: `dag-${place}`, width: 10, height: 10 }));
    return element("li", { class: dag === OTHER ? "other" : undefined }, box, dag);
  });
  return element("ul", { class: "legend" }, ...entries);
}

function numbers(sums: Sums): HTMLElement {
  const head = ["Day", ...sums.dags, "All"].map((name) => element("th", { scope: "col" }, name));
  const rows = sums.days.map((day) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, day.day),
      ...[...day.parts, day.total].map((amount) => element("td", { class: "number" }, dollars(amount))),
    ),
  );
  const table = element(
    "table",
    {},
    element("caption", { class: "unseen" }, "Cost by day and DAG"),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows),
  );
  return element(
    "details",
    {},
    element("summary", { "data-focus": "numbers" }, "The numbers"),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cost in numbers" }, table),
  );
}
