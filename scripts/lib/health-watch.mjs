import { isSuspended } from './processes.mjs';
import { statusOf } from './readiness.mjs';

/**
 * Finds processes that run and do nothing: a blocked event loop, a frozen process. Such a process does not end by itself, so it
 * is killed, and the supervisor restarts it. Any HTTP reply counts as alive; its health is not checked here.
 *
 * Before its first answer a process is killed only when the system says that it is stopped (SIGSTOP), since a start may take long
 * (migrations). Missed answers are counted, not time: after the machine was suspended, the next request is answered.
 */
export function watchHealth({
  supervisor,
  urls,
  onFrozen,
  everyMs = 5_000,
  timeoutMs = 5_000,
  missesAllowed = 12,
  ask = statusOf,
}) {
  const watched = new Map();
  let timer = null;
  let isStopped = false;

  async function look(name) {
    const pid = supervisor.pid(name);
    if (pid === undefined || supervisor.state(name) !== 'running') return;
    const seen =
      watched.get(name)?.pid === pid ? watched.get(name) : { pid, hasAnswered: false, misses: 0, since: performance.now() };
    watched.set(name, seen);
    const status = await ask(urls[name], timeoutMs);
    if (status !== null) {
      seen.hasAnswered = true;
      seen.misses = 0;
      seen.since = performance.now();
      return;
    }
    if (isStopped || supervisor.pid(name) !== pid) return;
    if (!seen.hasAnswered && !isSuspended(pid)) {
      seen.misses = 0;
      return;
    }
    seen.misses += 1;
    if (seen.misses < missesAllowed) return;
    watched.delete(name);
    onFrozen(name, performance.now() - seen.since);
    supervisor.kill(name);
  }

  const round = async () => {
    await Promise.all(Object.keys(urls).map(look));
    if (!isStopped) timer = setTimeout(round, everyMs);
  };
  return {
    start: () => void (timer ??= setTimeout(round, everyMs)),
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
