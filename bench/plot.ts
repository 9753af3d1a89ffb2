import { scaleBand, scaleLinear, scaleLog, scalePoint } from 'd3-scale';
import { line } from 'd3-shape';
import type { Curves, Figure, Target } from './row.ts';
import { summarise } from './statistics.ts';

const COLOURS = ['#1b6ca8', '#c8553d', '#588157', '#6d597a'];
const INK = '#333';
const FADED = '#999';
const WIDTH = 720;
const LEFT = 290;
const RIGHT = 90;
const LINE_HEIGHT = 34;
const FOOTER = 20;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped(content)}</text>`;
}

function rule(x1: number, y1: number, x2: number, y2: number, attributes: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" ${attributes}/>`;
}

/** `footer` says where and when it was measured. */
function svg(title: string, footer: string, above: number, content: readonly string[]): string {
  const heading = text(10, 22, title, `font-size="15" font-weight="bold"`);
  const height = above + FOOTER;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="${INK}">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    heading,
    ...content,
    text(10, height - 8, footer, `font-size="10" fill="${FADED}"`),
    '</svg>\n',
  ].join('\n');
}

/** Three significant digits, thousands apart. */
export function shown(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

function targetMark(target: Target, x: (value: number) => number, y: number): string {
  const at = x(target.value);
  const sign = target.bound === 'at least' ? '≥' : '≤';
  return (
    rule(at, y - 13, at, y + 13, `stroke="${COLOURS[1]}" stroke-dasharray="3 2"`) +
    text(
      at,
      y - 15,
      `${sign} ${shown(target.value)}`,
      `text-anchor="middle" font-size="10" fill="${COLOURS[1]}"`,
    )
  );
}

/** One line of a figure, on a scale of its own: a dot a sample, a bar over the middle half, the median, the target. */
function figureLine({ name, unit, samples, summary, target }: Figure, y: number): string {
  const values = [...samples, ...(target ? [target.value] : []), 0];
  const x = scaleLinear([Math.min(...values), Math.max(...values)], [LEFT, WIDTH - RIGHT]).nice();
  const few =
    samples.length > 300 ? samples.filter((_, i) => i % Math.ceil(samples.length / 300) === 0) : samples;
  return [
    text(LEFT - 12, y + 4, name, 'text-anchor="end"'),
    rule(LEFT, y, WIDTH - RIGHT, y, `stroke="#ddd"`),
    ...few.map(
      (value) => `<circle cx="${x(value).toFixed(1)}" cy="${y}" r="2.5" fill="${COLOURS[0]}" opacity="0.3"/>`,
    ),
    rule(x(summary.low), y, x(summary.high), y, `stroke="${COLOURS[0]}" stroke-width="6" opacity="0.5"`),
    rule(x(summary.median), y - 8, x(summary.median), y + 8, `stroke="${COLOURS[0]}" stroke-width="2.5"`),
    ...(target ? [targetMark(target, x, y)] : []),
    text(WIDTH - RIGHT + 8, y + 4, `${shown(summary.median)} ${unit}`.trim()),
  ].join('\n');
}

/** All figures of a row, each from 0 on its own scale. */
export function plotFigures(title: string, footer: string, figures: readonly Figure[]): string {
  const top = 56;
  const y = scalePoint(
    figures.map(({ name }) => name),
    [top, top + LINE_HEIGHT * Math.max(figures.length - 1, 0)],
  );
  const lines = figures.map((figure) => figureLine(figure, y(figure.name) ?? top));
  return svg(title, footer, top + LINE_HEIGHT * figures.length, lines);
}

const PLOT = { left: 70, right: WIDTH - 190, top: 50, bottom: 330 } as const;

/** Medians and middle halves by something, both axes logarithmic. */
export function plotCurves(title: string, footer: string, { x: xName, y: yName, lines }: Curves): string {
  const summaries = lines.map(({ name, points }) => ({
    name,
    points: points.map((point) => ({ x: point.x, ...summarise(point.samples) })),
  }));
  const all = summaries.flatMap(({ points }) => points);
  const x = scaleLog(extent(all.map((point) => point.x)), [PLOT.left, PLOT.right]).nice();
  const y = scaleLog(extent(all.flatMap((point) => [point.low, point.high])), [PLOT.bottom, PLOT.top]).nice();
  const axes = [
    ...x
      .ticks(5)
      .map((tick) => [
        rule(x(tick), PLOT.top, x(tick), PLOT.bottom, `stroke="#eee"`),
        ...(isRound(tick) ? [text(x(tick), PLOT.bottom + 16, shown(tick), 'text-anchor="middle"')] : []),
      ]),
    ...y
      .ticks(5)
      .map((tick) => [
        rule(PLOT.left, y(tick), PLOT.right, y(tick), `stroke="#eee"`),
        ...(isRound(tick) ? [text(PLOT.left - 8, y(tick) + 4, shown(tick), 'text-anchor="end"')] : []),
      ]),
    text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 34, xName, `text-anchor="middle" fill="${FADED}"`),
    text(10, PLOT.top - 8, yName, `fill="${FADED}"`),
  ].flat();
  const labels = scaleBand(
    summaries.map(({ name }) => name),
    [PLOT.top, PLOT.top + 24 * summaries.length],
  );
  const drawn = summaries.flatMap(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length] ?? INK;
    const path = line<(typeof points)[number]>()
      .x((point) => x(point.x))
      .y((point) => y(point.median));
    return [
      `<path d="${path(points) ?? ''}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...points.map((point) =>
        rule(x(point.x), y(point.low), x(point.x), y(point.high), `stroke="${colour}"`),
      ),
      ...points.map(
        (point) =>
          `<circle cx="${x(point.x).toFixed(1)}" cy="${y(point.median).toFixed(1)}" r="3.5" fill="${colour}"/>`,
      ),
      text(PLOT.right + 16, (labels(name) ?? 0) + 12, name, `fill="${colour}"`),
    ];
  });
  return svg(title, footer, PLOT.bottom + 50, [...axes, ...drawn]);
}

/** Powers of ten, or all where there is no room for two of them. */
function isRound(tick: number): boolean {
  return /^[125]0*$|^0\.0*[125]$/.test(String(tick));
}

function extent(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}
