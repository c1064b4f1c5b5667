/**
 * Keeps a proxy that has little to do small. Its start leaves garbage and free pages that no collection would come for:
 * one that gives back everything is made before the mesh is read, another while the proxy has worked little. An idle
 * proxy collects nothing, so after a load it would stay as it is for hours: once it is quiet and has grown by much, or is quiet for
 * long, it is made to. So is the allocator below V8, which keeps what buffers of a burst leave: 50 MiB after the first state of a
 * large mesh. Under load it keeps what V8 had to compile in, which comes in bursts, 10 MiB in the first second. Giving that back
 * takes 0.5 to 5 ms, so it is done while busy as well.
 *
 * A whole collection while nothing is under way is dear: V8 throws away optimised code that knows a shape of which it finds no object
 * alive. Those were 200 functions of a waypoint, all that a request runs through, and p99 of the seconds after it was three times as
 * long. V8 itself would make two such collections 8 s after a load (`--no-memory-reducer` in the programs' first line).
 *
 * Measured on a ztunnel: idle 105 MiB become 90, for 100 to 180 ms of CPU, once; after 8000 connections it stayed at 213 MiB,
 * of which 126 are left by a collection.
 */
import process from 'node:process';
import { getHeapStatistics } from 'node:v8';
import type { Clock } from '../base/clock.ts';
import { collectGarbage, keepShapes } from '../base/garbage.ts';
import { nativeSockets } from '../net/native-sockets.ts';

const beatMs = 5000;
/** A busy process that has grown by so much since the last look gives free pages back. */
const lookMs = 500;
const grownBytes = 4 * 1024 * 1024;
/** Of a processor: below, nobody is likely to wait for the 20 to 100 ms of a whole collection. */
const quietShare = 0.02;
/** A young collection leaves this much more than the last whole one did, and this share of it: a large heap costs more. */
const worthwhileBytes = 32 * 1024 * 1024;
const worthwhileShare = 0.1;
/** What suffices where little is lost: while it has worked for so long only since its start, and after five minutes of quiet beats. */
const someBytes = 4 * 1024 * 1024;
const fewSeconds = 2;
const longQuietBeats = 60;
/** Of what it uses, a heap may hold this much without giving pages back. */
const roomy = 1.5;

/** Call once, when everything is loaded and before anything is read or listens. The beat never stops; it keeps no process alive. */
export function keepMemorySmall(clock: Clock): void {
  // Before the first whole collection after which objects are made.
  keepShapes();
  giveBack();
  let leastBytes = getHeapStatistics().used_heap_size;
  let quietBeats = 0;
  let before = workedSeconds();
  const beat = () => {
    const now = workedSeconds();
    if (now - before < (quietShare * beatMs) / 1000) {
      const littleIsLost = ++quietBeats > longQuietBeats || now < fewSeconds;
      if (littleIsLost) quietBeats = 0;
      leastBytes = collectWhenGrown(leastBytes, littleIsLost ? someBytes : worthwhileBytes);
    } else {
      quietBeats = 0;
      trimAllocator();
    }
    // A collection is no reason to call the next beat busy.
    before = workedSeconds();
    clock.after(beatMs, beat);
  };
  clock.after(beatMs, beat);
  watchGrowth(clock);
}

/** Of CPU, since its start. */
function workedSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function watchGrowth(clock: Clock): void {
  let residentBytes = process.memoryUsage.rss();
  const look = () => {
    const nowBytes = process.memoryUsage.rss();
    if (nowBytes > residentBytes + grownBytes) {
      trimAllocator();
      residentBytes = process.memoryUsage.rss();
    } else residentBytes = Math.min(residentBytes, nowBytes);
    clock.after(lookMs, look);
  };
  clock.after(lookMs, look);
}

/** The new least. */
function collectWhenGrown(leastBytes: number, leastGrownBytes: number): number {
  const worthwhile = Math.max(leastGrownBytes, leastBytes * worthwhileShare);
  const hasGrown = () => getHeapStatistics().used_heap_size >= leastBytes + worthwhile;
  // A young collection of who allocates little makes the young generation small, and the next load begins with that.
  if (!hasGrown()) return leastBytes;
  collectGarbage({ type: 'minor' });
  if (!hasGrown()) return leastBytes;
  collectGarbage({ type: 'major' });
  const { used_heap_size: usedBytes, total_heap_size: heldBytes } = getHeapStatistics();
  if (heldBytes > usedBytes * roomy) giveBack();
  else trimAllocator();
  return usedBytes;
}

/** Several whole collections one after another; free pages go back to the system. */
function giveBack(): void {
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  trimAllocator();
}

function trimAllocator(): void {
  try {
    nativeSockets().trimMemory();
  } catch {
    // The addon is not there, or is an older one: what is free stays with the process, which is no worse off.
  }
}
