import { folded, type Page, type Paint, painted } from '../terminal.ts';
import type { Arrival } from './exchange.ts';
import type { Comparison } from './path.ts';
import type { Answer, Outcome } from './plain.ts';
import { STATUS, type Verdict } from './verdict.ts';

const WORDS: Readonly<Record<Answer, string>> = {
  open: 'connected',
  closed: 'refused, as by a closed port',
  filtered: 'no answer',
  unreachable: 'not reachable',
  reset: 'connected, then reset',
};

/** As a line says it. */
export function outcomeText(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'not tried';
  const { answer, code } = outcome;
  return answer === 'unreachable' && code !== undefined ? `${WORDS[answer]} (${code})` : WORDS[answer];
}

/** Lines of two columns and more, the first one padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd())
    .join('\n');
}

export function verdictText(page: Page, { status, text, advice }: Verdict): string {
  const [mark, paint]: [string, Paint] =
    status === STATUS.good ? ['ok', 'green'] : status === STATUS.untold ? ['--', 'yellow'] : ['!!', 'red'];
  const lines = [folded(page, text, { text: `${painted(page, paint, mark)}  `, width: mark.length + 2 })];
  for (const piece of advice) lines.push(folded(page, piece, { text: '    - ' }));
  return lines.join('\n');
}

const hex = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;

/** What left and what arrived, side by side. */
export function comparisonTable(
  to: { readonly address: string; readonly port: number },
  from: { readonly address: string; readonly port: number } | undefined,
  { sent }: Comparison,
  arrival: Arrival,
): string {
  const shown = (value: number | null | undefined) =>
    value === undefined ? '?' : value === null ? 'none' : hex(value);
  return table([
    ['', 'sent', 'arrived'],
    ['source', named(from), named({ address: arrival.source, port: arrival.sourcePort })],
    ['destination', named(to), named({ address: arrival.destination, port: arrival.destinationPort })],
    ['ISN', shown(sent.isn), hex(arrival.isn)],
    ['timestamp', shown(sent.tsval), shown(arrival.tsval ?? null)],
  ]);
}

function named(end: { readonly address: string; readonly port: number } | undefined): string {
  if (end === undefined) return '?';
  return end.address.includes(':') ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}
