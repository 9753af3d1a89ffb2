import type { Host } from './netns.ts';
import { run } from './program.ts';

/** nmap's verdict on one port. */
export interface Verdict {
  readonly port: number;
  readonly state: string;
  readonly reason: string;
  /** TTL of the answer; 0 where there was none. */
  readonly ttl: number;
}

/** nmap's TCP scan types that need no third host. */
export const SCANS = ['-sS', '-sT', '-sF', '-sN', '-sX', '-sA', '-sW', '-sM'] as const;

/** Scans ports of an address; the verdicts come in the order of the ports asked for. */
export async function scan(
  from: Host,
  type: string,
  address: string,
  ports: readonly number[],
): Promise<Verdict[]> {
  // nmap takes no IPv4-mapped addresses: the packets are IPv4 ones anyway.
  const target = address.replace(/^::ffff:/, '');
  const outcome = await run(from, [
    'nmap',
    ...(target.includes(':') ? ['-6'] : []),
    ...[type, '-Pn', '-n', '--reason', '--max-retries', '1', '-p', ports.join(','), '-oX', '-', target],
  ]);
  if (outcome.status !== 0) throw new Error(`nmap ${type} failed: ${outcome.stderr}`);
  const verdicts = new Map<number, Verdict>();
  const pattern =
    /<port protocol="tcp" portid="(\d+)"><state state="([^"]+)" reason="([^"]+)" reason_ttl="(\d+)"/g;
  for (const [, port, state, reason, ttl] of outcome.stdout.matchAll(pattern)) {
    verdicts.set(Number(port), {
      port: Number(port),
      state: state ?? '',
      reason: reason ?? '',
      ttl: Number(ttl),
    });
  }
  return ports.map((port) => {
    const verdict = verdicts.get(port);
    if (verdict === undefined)
      throw new Error(`nmap ${type} said nothing about port ${port}: ${outcome.stdout}`);
    return verdict;
  });
}
