import type { SecretSlots } from '../../ts/engine/engine.ts';

/** Slots in memory, that note what is done to them. */
export class PaperSlots implements SecretSlots {
  readonly slots = new Map<number, { secret: Uint8Array; until: number | undefined }>();
  readonly calls: string[] = [];
  failing = false;

  /** What another control process has. */
  keeper: string | undefined;

  claim(folder: string): boolean {
    return this.keeper === undefined || this.keeper === folder;
  }
  resign(): void {
    this.calls.push('resign');
  }
  read(slot: number): Uint8Array | undefined {
    const found = this.slots.get(slot);
    return found && Uint8Array.from(found.secret);
  }
  write(slot: number, secret: Uint8Array, until?: number): void {
    if (this.failing) throw new Error('no more');
    if (this.slots.has(slot)) throw new RangeError(`slot ${slot} is not empty`);
    this.calls.push(`write ${slot}`);
    this.slots.set(slot, { secret: Uint8Array.from(secret), until });
  }
  limit(slot: number, until?: number): void {
    this.calls.push(`limit ${slot}`);
    const found = this.slots.get(slot);
    if (found) this.slots.set(slot, { ...found, until });
  }
  clear(slot: number): void {
    if (this.slots.delete(slot)) this.calls.push(`clear ${slot}`);
  }
  /** What is in them, by slot, as text. */
  texts(): Record<number, string> {
    const entries = [...this.slots].map(([slot, { secret }]) => [
      slot,
      Buffer.from(secret).toString().replace(/\0+$/, ''),
    ]);
    return Object.fromEntries(entries);
  }
}
