// What a process has cost so far.

import { readFileSync, readdirSync } from 'node:fs';

/**
 * CPU time of all threads of a process in microseconds. From the scheduler, which counts nanoseconds: the
 * ticks of `/proc/PID/stat` are 10 ms, as long as some hundred requests.
 */
export function cpuTime(pid) {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [ran] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return Number(ran);
  });
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1_000;
}
