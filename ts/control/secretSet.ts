import { timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { MOST_SECRETS } from '../config/secretNames.ts';
import type { SecretSlots } from '../engine/engine.ts';
import { type FolderContents, type FoundSecret, type Refused, withoutTwins } from './secretFolder.ts';

/** A secret that listeners accept. */
export interface HeldSecret {
  readonly slot: number;
  readonly name: string;
  /** Of one that was replaced: until when it is accepted, in ms since the epoch. */
  readonly until: number | undefined;
  /** Of the secret, whatever its name is; never used for another. */
  readonly serial: number;
  /** When it got the slot, in ms since the epoch; undefined if it had that before this process. */
  readonly since: number | undefined;
}

/** What an update changed, for the log. */
export interface Changes {
  readonly said: readonly string[];
  /** What was not refused before, or for another reason. */
  readonly refused: readonly Refused[];
}

const ALL_SLOTS = Array.from({ length: MOST_SECRETS }, (_, i) => i + 1);

const ELSEWHERE =
  'another control process of this network namespace has its named secrets in another folder, or is another user; stop that one, or start this one with --no-secrets';

/** `alice`, or `alice (old)` for a secret that was replaced. */
function title({ name, until }: Pick<HeldSecret, 'name' | 'until'>): string {
  return until === undefined ? name : `${name} (old)`;
}

/**
 * The named secrets: what is in their folder goes into the engine's slots, and out of them again. No secret is kept here:
 * the slots, which outlive this process, are the one place. A secret that is replaced keeps its slot, as an old one.
 */
export class SecretSet {
  readonly folder: string;
  readonly #slots: SecretSlots;
  readonly #own: Uint8Array | undefined;
  #held = new Map<number, HeldSecret>();
  /** Who had a slot last, and before that. */
  readonly #titles = new Map<number, string>();
  readonly #former = new Map<number, string>();
  #refused: readonly Refused[] = [];
  #begun = false;
  #serials = 0;

  /** `own`: the secret that is accepted anyway, so that none with a name may be the same. */
  constructor(folder: string, slots: SecretSlots, own?: Uint8Array) {
    this.folder = folder;
    this.#slots = slots;
    this.#own = own;
  }

  /** How many are accepted, old ones included. */
  get size(): number {
    return this.#held.size;
  }

  /** What is accepted, by slot. */
  get held(): readonly HeldSecret[] {
    return [...this.#held.values()].sort((one, other) => one.slot - other.slot);
  }

  /** What is in the folder and not accepted. */
  get refused(): readonly Refused[] {
    return this.#refused;
  }

  /**
   * Whose secret a slot holds, or held `at` a time (in ms since the epoch): `alice`, `alice (old)` once it was replaced,
   * `alice (revoked)` once it is gone. Undefined for slot 0, which is the listener's own secret, and for one that nobody had.
   */
  nameOf(slot: number, at = Number.POSITIVE_INFINITY): string | undefined {
    const held = this.#held.get(slot);
    const isAfter = held !== undefined && at < (held.since ?? 0);
    if (held !== undefined && !isAfter) return title(held);
    const last = (isAfter ? this.#former : this.#titles).get(slot);
    return last === undefined ? undefined : `${last} (revoked)`;
  }

  /**
   * Accepts what is in the folder, and nothing else from here on; unless another control process has its secrets accepted,
   * from another folder or as another user: then that is refused. Throws SysError.
   */
  update(contents: FolderContents, now: number): Changes {
    const { found, refused } = contents;
    const hasSecrets = found.length + refused.length > 0;
    const isOurs = this.#slots.claim(this.folder, hasSecrets);
    const elsewhere = hasSecrets ? [{ path: this.folder, why: ELSEWHERE }] : [];
    const no: Refused[] = isOurs ? [...refused] : elsewhere;
    const before = this.#held;
    const after = isOurs ? this.#accept(found, no, now) : new Map<number, HeldSecret>();
    this.#held = after;
    for (const [slot, { name, serial }] of after) {
      const last = this.#titles.get(slot);
      if (last !== undefined && before.get(slot)?.serial !== serial) this.#former.set(slot, last);
      this.#titles.set(slot, name);
    }
    const known = this.#refused;
    this.#refused = no;
    const said = this.#begun ? differences(before, after, now) : summary(this.held);
    this.#begun = true;
    return {
      said,
      refused: no.filter(({ path, why }) => !known.some((one) => one.path === path && one.why === why)),
    };
  }

  /** Another control process may have its secrets accepted from here on. */
  resign(): void {
    this.#slots.resign();
  }

  #accept(found: readonly FoundSecret[], refused: Refused[], now: number): Map<number, HeldSecret> {
    const wanted = this.#wanted(found, refused);
    const after = this.#placed(wanted);
    for (const slot of ALL_SLOTS) if (!after.has(slot)) this.#slots.clear(slot);
    for (const one of wanted) this.#give(one, after, refused, now);
    return after;
  }

  /** Who is accepted already stays. */
  #wanted(found: readonly FoundSecret[], refused: Refused[]): FoundSecret[] {
    const isHeld = (one: FoundSecret) => [...this.#held.values()].some((held) => title(held) === title(one));
    const inOrder = [...found.filter(isHeld), ...found.filter((one) => !isHeld(one))].sort(byAge);
    const others = inOrder.filter((one) => {
      if (this.#own === undefined || !timingSafeEqual(one.secret, this.#own)) return true;
      const why = "it is the control process's own secret, which is accepted in any case";
      refused.push({ path: join(this.folder, one.file), why });
      return false;
    });
    return withoutTwins(this.folder, others, refused);
  }

  /** Who has a slot already, be it by a control process before this one. */
  #placed(wanted: readonly FoundSecret[]): Map<number, HeldSecret> {
    const placed = new Map<number, HeldSecret>();
    const waiting = new Set(wanted);
    for (const slot of ALL_SLOTS) {
      const secret = this.#slots.read(slot);
      if (secret === undefined) continue;
      const owner = [...waiting].find((one) => timingSafeEqual(one.secret, secret));
      secret.fill(0);
      if (owner === undefined) continue;
      waiting.delete(owner);
      const { name, until } = owner;
      const held = this.#held.get(slot);
      // Of one that ends always: the clock may have been set since.
      if (held === undefined || held.until !== until || until !== undefined) this.#slots.limit(slot, until);
      placed.set(slot, { slot, name, until, serial: held?.serial ?? this.#serials++, since: held?.since });
    }
    return placed;
  }

  #give(
    { file, name, until, secret }: FoundSecret,
    after: Map<number, HeldSecret>,
    refused: Refused[],
    now: number,
  ): void {
    if ([...after.values()].some((held) => held.name === name && held.until === until)) return;
    const slot = ALL_SLOTS.find((free) => !after.has(free));
    if (slot === undefined) {
      const why = `${MOST_SECRETS} are accepted already, which is all there is room for; revoke one`;
      refused.push({ path: join(this.folder, file), why });
      return;
    }
    this.#slots.write(slot, secret, until);
    after.set(slot, { slot, name, until, serial: this.#serials++, since: now });
  }
}

/** Those that were replaced come last, and of these the one that counts longest first. */
function byAge(one: FoundSecret, other: FoundSecret): number {
  if (one.until === undefined || other.until === undefined)
    return Number(one.until !== undefined) - Number(other.until !== undefined);
  return other.until - one.until;
}

function summary(held: readonly HeldSecret[]): string[] {
  return held.length === 0 ? [] : [`named secrets: ${held.map(title).sort().join(', ')}`];
}

type Held = ReadonlyMap<number, HeldSecret>;

function differences(before: Held, after: Held, now: number): string[] {
  const names = new Set([...before.values(), ...after.values()].map(({ name }) => name));
  return [...names].sort().flatMap((name) => [
    ...changeOf(name, liveOf(name, before), liveOf(name, after), after),
    ...[...before.values()]
      .filter((held) => held.name === name && held.until !== undefined)
      .filter(({ serial }) => withSerial(serial, after)?.name !== name)
      .map(({ until = 0 }) => `secret ${name} (old): ${until <= now ? 'its time is over' : 'revoked'}`),
  ]);
}

function liveOf(name: string, held: Held): HeldSecret | undefined {
  return [...held.values()].find((one) => one.name === name && one.until === undefined);
}

function withSerial(serial: number, held: Held): HeldSecret | undefined {
  return [...held.values()].find((one) => one.serial === serial);
}

function changeOf(
  name: string,
  before: HeldSecret | undefined,
  now: HeldSecret | undefined,
  after: Held,
): string[] {
  if (before?.serial === now?.serial) return [];
  if (before === undefined) return [`secret ${name}: accepted from now on`];
  const old = withSerial(before.serial, after);
  const until = old?.name === name ? old.until : undefined;
  const fate =
    until === undefined ? 'not accepted any more' : `accepted until ${new Date(until).toISOString()}`;
  if (now !== undefined) return [`secret ${name}: replaced; the old one is ${fate}`];
  return [`secret ${name}: ${until === undefined ? 'revoked' : fate}`];
}
