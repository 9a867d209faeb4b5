import { COMPARISONS } from './comparisons.mjs';
import { CONTENDERS } from './contenders.mjs';
import { Load, measure } from './measure.mjs';
import { ONLY } from './settings.mjs';
import { Stage } from './stage.mjs';
import { median, middleHalf, table } from './table.mjs';

const name = ({ mine, peer }) => `${CONTENDERS[mine].name} / ${CONTENDERS[peer].name}`;
const chosen = COMPARISONS.filter((one) => name(one).toLowerCase().includes(ONLY));
const ids = [...new Set(chosen.flatMap(({ mine, peer }) => [mine, peer]))];
const stage = await Stage.start();
const load = new Load();
try {
  for (const id of ids) { await stage.envoy(CONTENDERS[id].envoy); console.log('started', CONTENDERS[id].envoy); }
  const t = Date.now();
  const times = await measure(stage, load, ids, (round) => console.log(`round ${round} ${Date.now() - t}`));
  console.log(Object.entries(times).map(([id, v]) => `${id} ${median(v).toFixed(1)}`).join('\n'));
  const rows = chosen.map((one) => {
    const of = (id) => times[id].map((value, round) => value - (one.whole ? 0 : times[CONTENDERS[id].alone ?? 'alone'][round]));
    const [mine, peer] = [of(one.mine), of(one.peer)];
    const ratios = mine.map((value, round) => value / peer[round]);
    const ratio = median(ratios);
    return [CONTENDERS[one.mine].name + (one.whole ? ' (whole request)' : ''), median(mine).toFixed(1), CONTENDERS[one.peer].name, median(peer).toFixed(1), ratio.toFixed(2), middleHalf(ratios).map((v) => v.toFixed(2)).join(' to '), one.atMost ? `at most ${one.atMost}` : '', one.atMost ? (ratio <= one.atMost ? 'met' : `missed by ${Math.round((ratio / one.atMost - 1) * 100)} %`) : ''];
  });
  console.log(table([['what', 'us', 'compared with', 'us', 'ratio', 'middle half', 'target', 'verdict'], ...rows]));
} finally {
  load.stop();
  await stage.stop();
}
