import { readFileSync } from 'node:fs';

/** Bit numbers of linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n, CAP_BPF: 39n } as const;
export type Capability = keyof typeof CAPABILITIES;

function effective(): bigint {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return BigInt(`0x${text}`);
}

/** How many capabilities this process has in effect. */
export function countCapabilities(): number {
  return effective().toString(2).replaceAll('0', '').length;
}

/** Those of the wanted capabilities that this process doesn't have in effect. CAP_SYS_ADMIN implies CAP_BPF. */
export function missingCapabilities(wanted: readonly Capability[]): Capability[] {
  const mask = effective();
  const holds = (capability: Capability) => ((mask >> CAPABILITIES[capability]) & 1n) === 1n;
  return wanted.filter((c) => !holds(c) && !(c === 'CAP_BPF' && holds('CAP_SYS_ADMIN')));
}

/** `needs CAP_BPF, which this process lacks`, or undefined if that can't be the reason. */
export function capabilityRemedy(wanted: readonly Capability[]): string | undefined {
  const missing = missingCapabilities(wanted);
  return missing.length === 0 ? undefined : `needs ${missing.join(' and ')}, which this process lacks`;
}
