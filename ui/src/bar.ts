// A bar of requests by outcome, and the same in words.

import { element, svg } from "./dom.ts";
import { whole, words } from "./format.ts";

/** Outcomes in the order of the bar. Others, which a later API may have, come last. */
const ORDER: readonly string[] = ["succeeded", "errored", "expired", "canceled", "under_way", "not_landed", "unsent"];
const WIDTH = 240;
const HEIGHT = 8;
/** Width of the smallest part, so that one failure in a million can be seen. */
const SMALLEST = 2;

export function ordered(counts: ReadonlyMap<string, number>): [string, number][] {
  const rank = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...counts].filter(([, number]) => number > 0).sort(([a], [b]) => rank(a) - rank(b));
}

/** Widths of a bar's parts: in proportion, none below the smallest, together the bar's. */
export function widths(numbers: readonly number[], width = WIDTH): number[] {
  const total = numbers.reduce((sum, number) => sum + number, 0);
  const raised = numbers.map((number) => Math.max(SMALLEST, (number / total) * width));
  const excess = raised.reduce((sum, each) => sum + each, 0) - width;
  const largest = raised.indexOf(Math.max(...raised));
  return raised.map((each, place) => (place === largest ? each - excess : each));
}

export function bar(counts: ReadonlyMap<string, number>): HTMLElement {
  const parts = ordered(counts);
  const sizes = widths(parts.map(([, number]) => number));
  let left = 0;
  const boxes = parts.map(([name], place) => {
    const size = sizes[place] ?? 0;
    const known = ORDER.includes(name) ? name : "other";
    const box = svg("rect", { class: `outcome ${known}`, x: left, y: 0, width: size, height: HEIGHT });
    left += size;
    return box;
  });
  const picture = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "bar" };
  return element("div", {}, svg("svg", picture, ...boxes), element("span", { class: "counts" }, described(parts)));
}

function described(parts: readonly [string, number][]): string {
  return parts.map(([name, number]) => `${whole(number)} ${words(name)}`).join(", ");
}
