import { expect } from 'vitest';
import { type Packet, syns } from './packets.ts';
import { type Mode, PROTECTED_LENGTH, SECRET } from './stealthlab.ts';
import { firstSegmentAfter, takeApart } from './syn.ts';

/** Expects that there are SYNs, and that each carries the token that the lab's secret demands of it. */
export function expectTokens(packets: readonly Packet[], mode: Mode): void {
  expect(syns(packets).length).toBeGreaterThan(0);
  for (const syn of syns(packets)) {
    const bytes = firstSegmentAfter(syn, packets).subarray(0, PROTECTED_LENGTH);
    const taken = takeApart(syn, SECRET, mode === 'integrity' ? bytes : undefined);
    expect(taken.onTheWire).toBe(taken.computed);
  }
}
