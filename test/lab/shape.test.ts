import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { capturing } from './capture.ts';
import { PAGE, startLighttpd, urlOf } from './lighttpd.ts';
import { type Family, inside } from './netns.ts';
import { type Packet, shape, syns } from './packets.ts';
import { type Knock, run, until } from './program.ts';
import { FAMILIES, KINDS, openStealthLab, type StealthLab } from './stealthlab.ts';

/** A stealth connection has the packets of a plain one, and its SYN the header of a plain one. */

let stealth: StealthLab;
/** Ports of servers that nobody guards; as many digits as the others, so that requests are as long. */
const PLAIN: Readonly<Record<Family, number>> = { ipv4: 9104, ipv6: 9106, mapped: 9146 };

beforeAll(async () => {
  stealth = await openStealthLab();
  const { lab, server } = stealth;
  await Promise.all([
    ...KINDS.map(({ family, mode, port }) =>
      startLighttpd(lab, { family, port, knock: stealth.knock(server, mode) }),
    ),
    ...FAMILIES.map((family) => startLighttpd(lab, { family, port: PLAIN[family] })),
  ]);
});
afterAll(() => stealth?.close());

/** Everything on the wire while curl gets the page: not only TCP. */
async function fetchPage(family: Family, port: number, knock?: Knock): Promise<Packet[]> {
  const { client, server } = stealth;
  // All but listening and TIME-WAIT.
  const open = () => inside(server, ['ss', '-Htn', 'sport', '=', `:${port}`]);
  const { result, packets } = await capturing(
    stealth.lab,
    async () => {
      const outcome = await run(client, ['curl', '-sS', '-m', '8', urlOf(server, family, port)], { knock });
      // The server may close later than curl ends.
      await until('the connection to be over', () => open() === '');
      return outcome;
    },
    // Multicast reports are the interface's, whoever talks.
    { filter: '(ip or ip6) and not ip6 multicast' },
  );
  expect(result).toMatchObject({ status: 0, stdout: PAGE });
  return packets;
}

/** What of a SYN's headers is neither its own by nature nor the token. */
function header(packets: readonly Packet[]): unknown {
  const [syn] = syns(packets);
  if (syn === undefined) throw new Error('no SYN was sent');
  const { version, ttl, ipFlags, trafficClass, window, mss, tsecr, length } = syn;
  const options = syn.options.replace(/080a[0-9a-f]{16}/, '080a');
  return { version, ttl, ipFlags, trafficClass, window, mss, tsecr, length, options, size: syn.frame.length };
}

/** Whether the server acknowledges the client's FIN before it sends its own is up to how quickly it closes. */
function shapeOf(packets: readonly Packet[], port: number): string[] {
  const whole = shape(packets, port);
  return whole.filter((packet, i) => !(packet === '< A 0' && whole[i + 1] === '< FA 0'));
}

describe.each(KINDS)('$family, $mode', ({ family, mode, port }) => {
  test('has the packets of a plain connection', async () => {
    const plain = await fetchPage(family, PLAIN[family]);
    const own = await fetchPage(family, port, stealth.knock(stealth.client, mode));
    expect(own.every((packet) => packet.isTcp)).toBe(true);
    expect(shapeOf(own, port)).toEqual(shapeOf(plain, PLAIN[family]));
    expect(shape(own, port)).toHaveLength(own.length);
    expect(header(own)).toEqual(header(plain));
  });

  test('its timestamps go on from that of its SYN as a plain connection does', async () => {
    const own = await fetchPage(family, port, stealth.knock(stealth.client, mode));
    const sent = own.filter((packet) => packet.destinationPort === port).map((packet) => packet.tsval ?? 0);
    const answered = own.filter((packet) => packet.sourcePort === port).map((packet) => packet.tsecr ?? 0);
    const [first = 0] = sent;
    for (const tsval of [...sent, ...answered]) expect((tsval - first) >>> 0).toBeLessThan(5_000);
    // Each echo is of a value that was sent.
    for (const tsecr of answered) expect(sent).toContain(tsecr);
  });
});
