import React from 'react';
import { usePoll } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { durationText, resultText, runWord, triggerText, type RunRow } from './job-words.js';

/** The newest runs of one job. */
const JobRuns: React.FC<{ name: string }> = ({ name }) => {
  const { value, error } = usePoll<RunRow[]>(`/live/jobs/${name}/runs`, 5_000);
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  if (value.length === 0) return <p className="cq-soft">It has not run yet.</p>;
  return (
    <ul className="cq-list cq-plans" data-testid={`runs-${name}`}>
      {value.map((run) => {
        const [word, tone] = runWord(run);
        return (
          <li key={run.id}>
            <span>
              <Badge tone={tone}>{word}</Badge> <Ago at={run.startedAt ?? run.createdAt} />
              <small>
                {triggerText(run)}
                {durationText(run) && `, ${durationText(run)}`}. {resultText(run)}
              </small>
            </span>
          </li>
        );
      })}
    </ul>
  );
};
export default JobRuns;
