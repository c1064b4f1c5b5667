/** The connections of one request as packets showed them: each named by where its first segment must be seen. */
import type { Test } from 'tap';
import type { LabMesh } from '../../../src/app/lab-mesh.ts';
import { type CapturedPacket, type PacketCapture, startCapture } from '../../../src/lab/capture.ts';
import { isOpening } from './path-mesh.ts';

export interface Hop {
  readonly title: string;
  /** Pod, ztunnel or node in whose namespace it is seen, and on which device. */
  readonly place: string;
  readonly device: string;
  readonly source: string;
  /** `ip:port`. */
  readonly destination: string;
}

/** Runs `act` and asserts that every hop was seen. */
export async function assertHops(
  t: Test,
  mesh: LabMesh,
  hops: readonly Hop[],
  act: () => Promise<unknown>,
): Promise<void> {
  const captures = new Map<string, PacketCapture>();
  for (const { place } of hops) {
    if (!captures.has(place)) captures.set(place, startCapture(mesh.lab.namespace(place), { filter: isOpening }));
  }
  try {
    await act();
  } finally {
    for (const capture of captures.values()) capture.close();
  }
  for (const hop of hops) {
    const seen = (captures.get(hop.place)?.packets ?? []).filter((packet) => packet.interface === hop.device);
    const found = seen.some((packet) => packet.source === hop.source && destinationOf(packet) === hop.destination);
    const instead = seen.map((packet) => `${packet.source} → ${destinationOf(packet)}`);
    t.ok(found, `${hop.title}: ${hop.source} → ${hop.destination} on ${hop.device} of ${hop.place}`, { instead });
  }
}

function destinationOf({ destination, destinationPort }: CapturedPacket): string {
  return `${destination}:${destinationPort}`;
}
