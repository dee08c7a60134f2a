import React from 'react';
import type { Overview } from '../../src/admin/overview.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import Meter from '../parts/Meter.js';
import { useStatus } from '../status.js';
import { memory } from '../words.js';

/** A worker whose last heartbeat is older than this is silent, also while the state of the installation is unknown. Milliseconds. */
const silentMs = 20_000;

/** The load and memory of each worker, and the time of its last heartbeat. */
const WorkerLoad: React.FC<{ workers: Overview['workers']; at: number }> = ({ workers, at }) => {
  const silent = useStatus().value?.silentWorkers.map(({ id }) => id) ?? [];
  if (workers.length === 0)
    return <p className="cq-soft">No worker has reported yet. Workers run the browsers; `npm start` starts one.</p>;
  return (
    <ul className="cq-workers">
      {workers.map((worker) => (
        <li key={worker.id}>
          <div className="cq-line">
            <b>{worker.id}</b>
            {silent.includes(worker.id) || at - worker.heartbeatAt > silentMs ? (
              <Badge tone="bad">Silent</Badge>
            ) : worker.draining ? (
              <Badge tone="warn">Draining</Badge>
            ) : (
              <Badge tone="good">Up</Badge>
            )}
          </div>
          <Meter
            label="Sessions"
            value={worker.sessions}
            of={worker.capacity}
            text={`${worker.sessions} of ${worker.capacity}`}
          />
          {worker.memoryMb !== null && (
            <Meter
              label="Memory"
              value={worker.memoryMb}
              of={worker.memoryLimitMb}
              text={
                worker.memoryLimitMb ? `${memory(worker.memoryMb)} of ${memory(worker.memoryLimitMb)}` : memory(worker.memoryMb)
              }
            />
          )}
          {worker.cpuPercent !== null && (
            <Meter label="Processor" value={worker.cpuPercent} of={100} text={`${worker.cpuPercent} %`} />
          )}
          <small>
            last heartbeat <Ago at={worker.heartbeatAt} />
          </small>
        </li>
      ))}
    </ul>
  );
};
export default WorkerLoad;
