import { createHash } from 'node:crypto';
import { SECRET_BYTES } from '../../stealth/secret.ts';
import { readMapValue, writeMapValue } from '../../sys/libbpf.ts';
import { isAlive } from '../../sys/process.ts';
import type { SecretSlots } from '../engine.ts';
import { ALWAYS, KEEPER, NAMED, NAMED_BYTES, SLOTS } from './layout.ts';

const NANOSECONDS = 1_000_000;
/** Whoever fills the slots looks at its folder at least once a minute. Nanoseconds. */
const KEPT_FOR = 130_000_000_000n;

/** CLOCK_MONOTONIC, which the guards go by, at a time in ms since the epoch. In the past it is 1: 0 is an empty slot's. */
function monotonic(time: number | undefined): bigint {
  if (time === undefined) return ALWAYS;
  const at = process.hrtime.bigint() + BigInt(Math.round((time - Date.now()) * NANOSECONDS));
  return at > 0n ? at : 1n;
}

function keyOf(slot: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(slot);
  return key;
}

/**
 * The map of named secrets, from which guards read at any moment. A slot is empty by its `until`, one word, before
 * its secret changes and until it is complete, so that no guard ever accepts half of one.
 */
export class KernelSlots implements SecretSlots {
  readonly #map: number;

  /** `map`: its descriptor. */
  constructor(map: number) {
    this.#map = map;
  }

  claim(folder: string, hasSecrets: boolean): boolean {
    // Another user may not be able to read what is in it.
    const own = createHash('sha256').update(`${process.geteuid?.()}\0${folder}`).digest();
    return this.#with(0, (value) => {
      const { since, pid } = KEEPER;
      const kept = value.subarray(KEEPER.folder, KEEPER.folder + KEEPER.folderBytes);
      const now = process.hrtime.bigint();
      const isRecent = now - value.readBigUInt64LE(since) < KEPT_FOR && value.readBigUInt64LE(since) !== 0n;
      const keeper = value.readUInt32LE(pid);
      const isAnother = isRecent && keeper !== process.pid && isAlive(keeper);
      // Whoever finds nothing may look at another file system.
      if (isAnother && !(kept.equals(own) && hasSecrets)) return false;
      value.writeBigUInt64LE(hasSecrets ? now : 0n, since);
      value.writeUInt32LE(process.pid, pid);
      kept.set(own);
      this.#put(0, value);
      return true;
    });
  }

  resign(): void {
    this.#with(0, (value) => {
      if (value.readUInt32LE(KEEPER.pid) !== process.pid) return;
      value.fill(0, KEEPER.since);
      this.#put(0, value);
    });
  }

  read(slot: number): Uint8Array | undefined {
    return this.#with(slot, (value) => {
      if (value.readBigUInt64LE(NAMED.until) === 0n) return undefined;
      // With a buffer of its own: see padSecret.
      const secret = new Uint8Array(new ArrayBuffer(SECRET_BYTES));
      secret.set(value.subarray(NAMED.secret));
      return secret;
    });
  }

  write(slot: number, secret: Uint8Array, until?: number): void {
    this.#with(slot, (value) => {
      if (value.readBigUInt64LE(NAMED.until) !== 0n) throw new RangeError(`slot ${slot} is not empty`);
      value.set(secret, NAMED.secret);
      this.#put(slot, value);
      value.writeBigUInt64LE(monotonic(until), NAMED.until);
      this.#put(slot, value);
    });
    this.#setHighest(Math.max(slot, this.#highest()));
  }

  limit(slot: number, until?: number): void {
    this.#with(slot, (value) => {
      if (value.readBigUInt64LE(NAMED.until) === 0n) return;
      value.writeBigUInt64LE(monotonic(until), NAMED.until);
      this.#put(slot, value);
    });
  }

  clear(slot: number): void {
    this.#with(slot, (value) => {
      if (value.every((byte) => byte === 0)) return;
      value.writeBigUInt64LE(0n, NAMED.until);
      this.#put(slot, value);
      value.fill(0);
      this.#put(slot, value);
    });
    let highest = this.#highest();
    while (highest > 0 && this.#isEmpty(highest)) highest--;
    this.#setHighest(highest);
  }

  #isEmpty(slot: number): boolean {
    return this.#with(slot, (value) => value.readBigUInt64LE(NAMED.until) === 0n);
  }

  #highest(): number {
    return Math.min(SLOTS, Number(this.#with(0, (value) => value.readBigUInt64LE(NAMED.until))));
  }

  #setHighest(slot: number): void {
    if (slot === this.#highest()) return;
    this.#with(0, (value) => {
      value.writeBigUInt64LE(BigInt(slot), NAMED.until);
      this.#put(0, value);
    });
  }

  /** `use` gets a copy of what is there, which is wiped afterwards. */
  #with<T>(slot: number, use: (value: Buffer) => T): T {
    const value = readMapValue(this.#map, keyOf(slot), NAMED_BYTES);
    if (value === undefined || slot > SLOTS) throw new RangeError(`there is no slot ${slot}`);
    try {
      return use(value);
    } finally {
      value.fill(0);
    }
  }

  #put(slot: number, value: Buffer): void {
    writeMapValue(this.#map, keyOf(slot), value);
  }
}
