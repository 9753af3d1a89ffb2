/** The string literals of a source text, each with `…` for what is put in; those inside of what is put in as well. */
export function literalsOf(source: string): string[] {
  const found: string[] = [];
  new Scanner(source, found).code();
  return found;
}

const PLACEHOLDER = '…';
/** After these a slash begins a regular expression, and is no division. */
const BEFORE_REGEXP = /(?:^|[(,=:[!&|?{};+\n]|\breturn|=>)\s*$/;

class Scanner {
  #at = 0;
  readonly #text: string;
  readonly #found: string[];

  constructor(text: string, found: string[]) {
    this.#text = text;
    this.#found = found;
  }

  /** Up to the end, or to the brace that ends a placeholder. */
  code(): void {
    for (let depth = 0; this.#at < this.#text.length; ) {
      const char = this.#text[this.#at];
      if (this.#startsWith('//')) this.#skipTo('\n');
      else if (this.#startsWith('/*')) this.#skipTo('*/');
      else if (char === '/' && BEFORE_REGEXP.test(this.#text.slice(Math.max(0, this.#at - 20), this.#at)))
        this.#regexp();
      else if (char === "'" || char === '"') this.#found.push(this.#quoted(char));
      else if (char === '`') this.#found.push(this.#template());
      else {
        if (char === '{') depth++;
        if (char === '}' && depth-- === 0) return;
        this.#at++;
      }
    }
  }

  #startsWith(text: string): boolean {
    return this.#text.startsWith(text, this.#at);
  }

  #skipTo(end: string): void {
    const found = this.#text.indexOf(end, this.#at);
    this.#at = found < 0 ? this.#text.length : found + end.length;
  }

  #regexp(): void {
    let inClass = false;
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const char = this.#text[this.#at];
      if (char === '\\') this.#at++;
      else if (char === '[') inClass = true;
      else if (char === ']') inClass = false;
      else if ((char === '/' && !inClass) || char === '\n') break;
    }
    this.#at++;
  }

  #quoted(quote: string): string {
    let text = '';
    for (this.#at++; this.#at < this.#text.length && this.#text[this.#at] !== quote; this.#at++)
      text += this.#char();
    this.#at++;
    return text;
  }

  #template(): string {
    let text = '';
    for (this.#at++; this.#at < this.#text.length && this.#text[this.#at] !== '`'; this.#at++) {
      if (this.#startsWith('${')) {
        this.#at += 2;
        this.code();
        text += PLACEHOLDER;
      } else text += this.#char();
    }
    this.#at++;
    return text;
  }

  #char(): string {
    if (this.#text[this.#at] !== '\\') return this.#text[this.#at] ?? '';
    this.#at++;
    const escaped = this.#text[this.#at] ?? '';
    return escaped === 'n' ? '\n' : escaped;
  }
}

/** The same for C: literals side by side are one, and a conversion of printf's is a placeholder. */
export function literalsOfC(source: string): string[] {
  const code = source.replace(/\/\*.*?\*\/|\/\/[^\n]*|^[ \t]*#[^\n]*$/gms, '');
  return [...code.matchAll(/"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*/g)].map(([literal]) =>
    literal
      .replace(/"\s*"/g, '')
      .slice(1, -1)
      .replace(/%[-.*\d]*[a-z]+/g, PLACEHOLDER)
      .replace(/\\n/g, '\n'),
  );
}
