import { join } from 'node:path';
import { sayFirstAdmin } from './banner.mjs';
import { watchHealth } from './health-watch.mjs';
import { forPeople, openLogFile, parseJson } from './log-file.mjs';
import { programs, root } from './paths.mjs';
import { requireFreePort } from './ports.mjs';
import { addressesOf, untilReady } from './readiness.mjs';
import { claimDataDir, runRecord } from './run-record.mjs';
import { createSupervisor } from './supervisor.mjs';
import { Problem, dim, red, say, step, warn, yellow } from './terminal.mjs';

/** How long all processes together may take to end. Each ends by itself within 20 s (shared/src/process.ts), most often within one. */
const graceMs = 25_000;
/** Ctrl-C on `npm start` comes twice: from the terminal, and passed on by npm. */
const sameKeyMs = 700;
/** How long the system may take to close the sockets of processes of an earlier start. */
const portPatienceMs = 10_000;
/** After this time the terminal shows where the logs are. */
const slowStartMs = 30_000;

/**
 * Starts backend and worker, waits until both answer and keeps them running until this process is told to stop.
 * Resolves, once all is ready, to `{firstAdmin, supervisor, stopped, wasStopped}`: the caller shows `firstAdmin`, unless the start was stopped
 * or failed; then it has been shown already. `stopped` resolves when everything has ended, to the exit code: 0, or 1 when a process did not end in order. Throws a `Problem` when a process cannot be brought up; nothing is left running
 * then. `claim` is the caller's, when it had to have the folder earlier; `isWatched` false leaves a process alone that does not answer.
 */
export async function launch({ settings, environments, dataDir, nodeArgs = [], claim, isWatched = true }) {
  const held = claim ?? (await claimDataDir(dataDir));
  try {
    return await launchClaimed({ settings, environments, dataDir, nodeArgs, isWatched, ...held });
  } catch (error) {
    held.release();
    throw error;
  }
}

async function launchClaimed({ settings, environments, dataDir, nodeArgs, isWatched, release, hadLeftovers }) {
  if (settings.PORT === settings.WORKER_PORT) {
    throw new Problem(`PORT and WORKER_PORT are both ${settings.PORT}.`, 'Give backend and worker a port each in .env.');
  }
  const patienceMs = hadLeftovers ? portPatienceMs : 0;
  await requireFreePort({ port: settings.PORT, host: settings.HOST, setting: 'PORT', patienceMs });
  await requireFreePort({ port: settings.WORKER_PORT, host: settings.WORKER_HOST, setting: 'WORKER_PORT', patienceMs });

  const record = runRecord(dataDir);
  const logs = {};
  const logOf = (name) =>
    (logs[name] ??= openLogFile(join(dataDir, 'logs', `${name}.log`), {
      onTrouble: (error) => warn(`The log of the ${name} cannot be written (${error.code}); its lines are dropped until it can.`),
    }));
  const admin = firstAdmin();
  let failure = null;
  let stopping = null;
  let isReady = false;

  const supervisor = createSupervisor({
    onStart: (name, pid) => record.note(name, pid),
    onLine(name, line, stream) {
      if (admin.takes(line)) return;
      logOf(name).write(line);
      show(name, line, stream, stopping !== null);
    },
    onRestart: (name, { code, signal, delayMs, failures }) =>
      warn(
        `The ${name} ended (${reason(code, signal)})${failures > 1 ? `, ${failures} times in a row` : ''}. It is started again in ${delayMs / 1000} s. Its log: ${logOf(name).file}`,
      ),
    onGiveUp(name, { code, signal, lastLines }) {
      failure ??= new Problem(
        `The ${name} does not start; it ended with ${reason(code, signal)} each time. Its last lines:\n${lastLines.slice(-8).map(plain).join('\n')}`,
        `Correct what they say and start again. The whole log: ${logOf(name).file}`,
      );
    },
  });
  const urls = addressesOf(settings);
  const health = watchHealth({
    supervisor,
    urls: { backend: `${urls.backend}/health/live`, worker: `${urls.worker}/health` },
    onFrozen: (name, ms) => warn(`The ${name} has not answered for ${Math.round(ms / 1000)} s. It is killed and restarted.`),
  });
  const end = async () => {
    record.noteStopping();
    health.stop();
    const unfinished = await supervisor.stop(graceMs);
    for (const { name, how } of unfinished)
      warn(`The ${name} did not stop in order: it ${how}. Nothing accepted is lost. Its log: ${logOf(name).file}`);
    record.remove();
    // The account exists from now on, so no later start prints its password.
    if (!isReady && admin.found()) sayFirstAdmin(admin.found());
    for (const log of Object.values(logs)) log.close();
    release();
    return unfinished.length === 0 ? 0 : 1;
  };
  const stopped = onStopSignal(supervisor, () => (stopping ??= end()));

  const isGivenUp = () => failure !== null || stopping !== null;
  if (isWatched) health.start();
  await step('Starting backend and worker', async (tell) => {
    // One after the other: a worker that finds no backend says so in its log, and that would be the first thing a person reads.
    for (const [name, path] of [
      ['backend', '/health/ready'],
      ['worker', '/health'],
    ]) {
      if (isGivenUp()) break;
      tell(name);
      supervisor.start({ name, program: programs[name], env: environments[name], cwd: root, nodeArgs });
      const slow = setTimeout(() => tell(`${name}; no answer yet, its log: ${logOf(name).file}`), slowStartMs);
      if (await untilReady(urls[name] + path, isGivenUp)) supervisor.markReady(name);
      clearTimeout(slow);
    }
    if (failure) throw new Problem('Chasqui could not be started.');
  }).catch(async (error) => {
    if (!failure) throw error;
    stopping ??= end();
    await stopping;
    throw failure;
  });
  isReady = stopping === null;
  return { firstAdmin: admin.found(), supervisor, stopped, wasStopped: () => stopping !== null };
}

const reason = (code, signal) => signal ?? (code === null ? 'it could not be started' : `code ${code}`);

/** The line in which the backend prints the first administrator's one-time password. It must not be logged. */
export function firstAdmin() {
  let found = null;
  return {
    takes(line) {
      if (!line.includes('"chasqui":"first-admin"')) return false;
      found = parseJson(line.slice(line.indexOf('{'))) ?? found;
      return true;
    },
    found: () => found,
  };
}

/** Resolves to the exit code when a signal has come and everything has ended. A second Ctrl-C prints the processes that have not ended yet. */
function onStopSignal(supervisor, stop) {
  return new Promise((resolve) => {
    let since = null;
    const onSignal = (signal) => {
      const now = performance.now();
      if (since === null) {
        since = now;
        say(
          `\n${signal === 'SIGINT' ? '' : `${signal}: `}Stopping ${supervisor.running().join(' and ') || 'nothing that runs'} …`,
        );
        stop().then((code) => {
          say(code === 0 ? 'Stopped.' : 'Stopped by force.');
          resolve(code);
        });
      } else if (now - since > sameKeyMs) {
        const left = Math.max(0, Math.ceil((since + graceMs - now) / 1000));
        say(
          `Still waiting for ${supervisor.running().join(' and ')} to finish work in progress; ended by force in ${left} s at the latest.`,
        );
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, onSignal);
  });
}

const marks = { error: red('✗'), warn: yellow('!') };

/** Warnings and errors for the person at the terminal; everything else is in the log file. */
function show(name, line, stream, isStopping) {
  const entry = forPeople(line);
  if (!entry) return;
  if (entry.level === 'plain' && (stream === 'stdout' || isStopping || /^\(node:\d+\)|^\(Use `node/.test(line))) return;
  const time = new Date().toTimeString().slice(0, 8);
  say(`${dim(`${time} ${name.padEnd(7)}`)} ${marks[entry.level] ?? ' '} ${entry.text}`);
}

const plain = (line) => {
  const entry = parseJson(line);
  return `  ${entry ? `${entry.level ?? ''} ${entry.message ?? ''} ${entry.error ?? entry.reason ?? ''}`.trim() : line}`;
};
