import { type Control, startControl } from './control.ts';
import { type Family, type Host, type Lab, openLab } from './netns.ts';
import type { Knock } from './program.ts';

/** A lab with a control process at both ends. */
export interface StealthLab {
  readonly lab: Lab;
  readonly client: Host;
  readonly server: Host;
  readonly controls: { readonly client: Control; readonly server: Control };
  /** What puts a program of `host` under the library. */
  knock(host: Host, mode?: Mode, secret?: string): Knock;
  close(): void;
}

export const SECRET = 'a secret of the lab, shorter than it could be';

/** Authentication only (draft section 3.1), or with payload protection (3.2). */
export type Mode = 'auth' | 'integrity';
export const MODES: readonly Mode[] = ['auth', 'integrity'];
/** Less than any HTTP request has. */
export const PROTECTED_LENGTH = 24;

export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6', 'mapped'];

/** A port of its own for every kind of server, all with the same number of digits. */
export function portOf(family: Family, mode: Mode): number {
  return 8100 + FAMILIES.indexOf(family) * 20 + MODES.indexOf(mode) * 10;
}

export const KINDS: readonly { family: Family; mode: Mode; port: number }[] = FAMILIES.flatMap((family) =>
  MODES.map((mode) => ({ family, mode, port: portOf(family, mode) })),
);

/** `options` are the control processes'. */
export async function openStealthLab(options: readonly string[] = []): Promise<StealthLab> {
  const lab = openLab();
  try {
    const [client, server] = await Promise.all([
      startControl(lab, lab.client, { arguments: options }),
      startControl(lab, lab.server, { arguments: options }),
    ]);
    const controls = { client, server };
    return {
      lab,
      client: lab.client,
      server: lab.server,
      controls,
      knock: (host, mode = 'auth', secret = SECRET) => ({
        control: controls[host.name].socket,
        secret,
        intlen: mode === 'integrity' ? PROTECTED_LENGTH : undefined,
      }),
      close: () => lab.close(),
    };
  } catch (error) {
    lab.close();
    throw error;
  }
}
