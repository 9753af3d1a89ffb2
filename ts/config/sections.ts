import { isUnspecified, unmapped } from '../stealth/address.ts';
import type { Destination } from '../stealth/destination.ts';
import { ConfigError } from './error.ts';
import type { SecretSource } from './secretForm.ts';
import { matchesDestination, moreSpecific, type Target, type Targets, targetsCollide } from './targets.ts';

/** What a client uses for some destinations in place of the rest of its settings. Undefined is not set. */
export interface Section {
  readonly targets: Targets;
  /** `path:line` of its header. */
  readonly origin: string;
  readonly secret: SecretSource | undefined;
  readonly protectedLength: number | undefined;
}

const LOOPBACK = { 4: Uint8Array.of(127, 0, 0, 1), 16: Uint8Array.of(...Array(15).fill(0), 1) } as const;

/** Connecting to 0.0.0.0 or :: reaches this machine. */
function reached({ address, port }: Destination): Destination {
  const own = unmapped(address);
  if (!isUnspecified(own)) return { address: own, port };
  return { address: own.length === 4 ? LOOPBACK[4] : LOOPBACK[16], port };
}

/** The section for a destination: that of its most specific target. */
export function sectionFor(sections: readonly Section[], destination: Destination): Section | undefined {
  const where = reached(destination);
  let found: { readonly section: Section; readonly target: Target } | undefined;
  for (const section of sections) {
    for (const target of section.targets) {
      if (!matchesDestination([target], where)) continue;
      if (found === undefined || moreSpecific(target, found.target)) found = { section, target };
    }
  }
  return found?.section;
}

/** Throws ConfigError where two sections would have the same claim to a destination. */
export function checkSections(sections: readonly Section[]): void {
  for (const [i, section] of sections.entries()) {
    const rival = sections.slice(0, i).find((earlier) => collide(earlier.targets, section.targets));
    if (rival === undefined) continue;
    throw new ConfigError(
      `${section.origin}: a target of this section is one of the section at ${rival.origin} already, and none is more specific; keep one`,
    );
  }
}

function collide(some: Targets, others: Targets): boolean {
  return some.some((one) => others.some((other) => targetsCollide(one, other)));
}
