// CPU time of a process.

import { readFileSync, readdirSync } from 'node:fs';

/**
 * CPU time of all threads of a process so far, in microseconds. The scheduler counts nanoseconds; the ticks of
 * `/proc/PID/stat` are 10 ms long, as long as hundreds of requests.
 */
export function cpuTime(pid) {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const [ran] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return Number(ran);
  });
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1_000;
}
