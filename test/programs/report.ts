import { MODES, type Mode } from '../lab/stealthlab.ts';
import type { Pair } from './pair.ts';
import type { Reload } from './reload.ts';

/** docs/programs.md: what the tests saw of every pair. */

const START = `<!-- Verified by test/programs/pairs.test.ts. Do not edit; run: npm run test:programs -- -u -->

# Programs that work

Each of these pairs ran in a lab of two network namespaces on an unmodified kernel, nothing in the programs changed.
*Works* means:

- both ends under the library with one secret: the data arrived and was compared, and every SYN on the wire carried its
  token (with integrity also the hash of the bytes that followed it);
- the client without the library, or with another secret: refused, with the answer of a closed port to every SYN (but
  for the one in 65,536 whose 16 bits integrity mode finds right, and whose connection it then resets);
- the client under the library without a secret: it fails and sends no SYN;
- the server under the library without a secret: it never listens.

*No* comes with a reason of principle; seen was that then no SYN leaves.

A client under the library also reached each of these servers when that was not hidden, in authentication mode: to a
plain server a SYN with a token is like any other.

Authentication ran over IPv4, integrity over IPv6; its column has the protected length, \`KNOCK_INTLEN\`.

| client | server | authentication | integrity |
|---|---|---|---|
`;

/** What has been proved so far, check by check. */
export class Findings {
  readonly #checks = new Map<string, boolean>();

  /** Before it is known: that there is such a check. */
  expected(pair: Pair, mode: Mode, check: string): void {
    this.#checks.set(this.#key(pair, mode, check), false);
  }

  proved(pair: Pair, mode: Mode, check: string): void {
    const key = this.#key(pair, mode, check);
    if (!this.#checks.has(key)) throw new Error(`nobody announced ${key}`);
    this.#checks.set(key, true);
  }

  /** Whether all announced checks of a pair were proved. */
  holds(pair: Pair, mode: Mode): boolean {
    const start = this.#key(pair, mode, '');
    const all = [...this.#checks].filter(([key]) => key.startsWith(start));
    return all.length > 0 && all.every(([, proved]) => proved);
  }

  #key(pair: Pair, mode: Mode, check: string): string {
    return `${pair.name}\n${pair.server.name}\n${mode}\n${check}`;
  }
}

const RELOADS_START = `
## Reloads

These servers were told to replace their workers, their configuration or themselves. In authentication mode somebody
without the secret knocked over and over meanwhile, and met a closed port each time. Afterwards a client with the secret
was served, and one without it was refused.

nginx gives a binary that takes its place only those variables that its configuration names: the library must be among
them, or what that binary listens on anew is not hidden, and no first bytes are checked.

| server | reload | authentication | integrity |
|---|---|---|---|
`;

export function render(pairs: readonly Pair[], reloads: readonly Reload[], findings: Findings): string {
  const rows = pairs.map((pair) => {
    const cells = MODES.map((mode) => (findings.holds(pair, mode) ? verdict(pair, mode) : 'FAILS'));
    return `| ${[pair.name, pair.server.name, ...cells].join(' | ')} |\n`;
  });
  const reloadRows = reloads.map(({ name, pair }) => {
    const cells = MODES.map((mode) => (findings.holds({ ...pair, name }, mode) ? 'holds' : 'FAILS'));
    return `| ${[pair.server.name, name, ...cells].join(' | ')} |\n`;
  });
  return `${START}${rows.join('')}${RELOADS_START}${reloadRows.join('')}`;
}

function verdict({ integrity, remark }: Pair, mode: Mode): string {
  if (mode === 'auth') return 'works';
  return `works, ${integrity} bytes${remark === undefined ? '' : ` (${remark})`}`;
}
