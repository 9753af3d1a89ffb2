/** What lines are written for: a terminal, or whatever else reads them. */
export interface Page {
  /** Undefined where nobody looks: lines are then as long as they are, so that programs find them whole. */
  readonly columns: number | undefined;
  readonly colours: boolean;
}

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Longer lines than this are hard to read, however wide the window is. */
const WIDEST = 100;
const NARROWEST = 40;
const USUAL_WIDTH = 80;

/** https://no-color.org: set to anything but nothing, NO_COLOR turns colours off. */
export function pageOf(
  { isTTY = false, columns = USUAL_WIDTH }: Stream,
  { NO_COLOR = '', TERM = '' }: NodeJS.ProcessEnv = process.env,
): Page {
  if (!isTTY) return { columns: undefined, colours: false };
  const width = Math.min(WIDEST, Math.max(NARROWEST, columns || USUAL_WIDTH));
  return { columns: width, colours: NO_COLOR === '' && TERM !== 'dumb' };
}

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] } as const;
export type Paint = keyof typeof CODES;

export function painted({ colours }: Page, paint: Paint, text: string): string {
  const [on, off] = CODES[paint];
  return colours ? `\u001b[${on}m${text}\u001b[${off}m` : text;
}

/** What stands before the text on its first line, and how far in the others begin. */
export interface Lead {
  readonly text: string;
  /** Columns that it takes; its length, unless it is painted. */
  readonly width?: number;
  /** Columns of blanks; as many as `width`, unless given. */
  readonly indent?: number;
}

/**
 * Text in lines that fit the page, broken at blanks; it keeps its own ends of lines. What is longer than a line stays
 * whole. Where nobody looks, the text is left as it is.
 */
export function folded({ columns }: Page, text: string, lead: Lead = { text: '' }): string {
  if (columns === undefined) return lead.text + text;
  const { width = lead.text.length, indent = width } = lead;
  let [whole, used] = [lead.text, width];
  const newLine = () => {
    whole += `\n${' '.repeat(indent)}`;
    used = indent;
  };
  for (const [i, line] of text.split('\n').entries()) {
    if (i > 0) newLine();
    for (const [j, word] of line.split(' ').filter(Boolean).entries()) {
      if (j > 0 && used + 1 + word.length > columns) newLine();
      else if (j > 0) {
        whole += ' ';
        used += 1;
      }
      whole += word;
      used += word.length;
    }
  }
  return whole;
}

/** The same for text that only people read: also elsewhere it fits 80 columns. */
export function proseOf(stream: Stream): Page & { readonly columns: number } {
  const page = pageOf(stream);
  return { ...page, columns: page.columns ?? USUAL_WIDTH };
}

/** For `addHelpText('after', …)`. */
export function paragraphs(...texts: readonly string[]): () => string {
  return () => `\n${texts.map((text) => folded(proseOf(process.stdout), text)).join('\n\n')}`;
}

/** Of a point in time, where we are: `2026-01-02`, `13:45:01`, `.123`. */
export function clock(time: string): {
  readonly day: string;
  readonly seconds: string;
  readonly fraction: string;
} {
  const at = new Date(time);
  const two = (number: number) => String(number).padStart(2, '0');
  return {
    day: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
    seconds: `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`,
    fraction: `.${String(at.getMilliseconds()).padStart(3, '0')}`,
  };
}
