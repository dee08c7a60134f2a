import React, { useState } from 'react';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import type { Notice } from '../parts/NoticeLine.js';
import JobRuns from './JobRuns.js';
import { durationText, jobWord, resultText, runWord, triggerText, type JobRow } from './job-words.js';

interface JobItemProps {
  job: JobRow;
  isAdmin: boolean;
  onNotice: (notice: Notice) => void;
}

/** Whether a run begins now: it begins up to two seconds after its time. */
const isDueNow = (nextRunAt: string): boolean => Date.parse(nextRunAt) - Date.now() < 5_000;

/** One job: its state, its last and its next run, and its actions. */
const JobItem: React.FC<JobItemProps> = ({ job, isAdmin, onNotice }) => {
  const [areRunsShown, setRunsShown] = useState(false);
  const [word, tone] = jobWord(job);
  const { lastRun } = job;
  const path = `/live/jobs/${job.name}`;
  const notify = (text: string) => ({
    onDone: () => onNotice({ tone: 'good', text }),
    onError: (problem: string) => onNotice({ tone: 'bad', text: problem }),
  });
  const isBusy = job.status === 'running' || job.status === 'requested';
  return (
    <li data-testid={`job-${job.name}`}>
      <span>
        <strong>{job.title}</strong> <Badge tone={tone}>{word}</Badge>
        <small>{job.description}</small>
        <small>
          {job.schedule ? (
            <>
              <code>{job.schedule.cron}</code> {job.schedule.timezone}
            </>
          ) : (
            'No schedule'
          )}
          {job.nextRunAt && <>, next {isDueNow(job.nextRunAt) ? 'now' : <Ago at={job.nextRunAt} />}</>}
        </small>
        {lastRun ? (
          <small>
            Last: {runWord(lastRun)[0].toLowerCase()} <Ago at={lastRun.startedAt ?? lastRun.createdAt} />, {triggerText(lastRun)}
            {durationText(lastRun) && `, ${durationText(lastRun)}`}. {resultText(lastRun)}
          </small>
        ) : (
          <small>It has not run yet.</small>
        )}
      </span>
      <span className="cq-line">
        {isAdmin && !isBusy && <ActionButton label="Run now" path={`${path}/run`} {...notify(`Requested: ${job.title}.`)} />}
        {isAdmin &&
          (job.isStopped ? (
            <ActionButton label="Start" path={`${path}/start`} {...notify('It runs by its schedule again.')} />
          ) : (
            <ActionButton
              label="Stop"
              path={`${path}/stop`}
              question={`Stop the schedule of ${job.title}?`}
              consequence="It runs only by hand until somebody starts it again. A run that has begun goes on."
              {...notify('Its schedule is stopped.')}
            />
          ))}
        <button type="button" className="cq-button" aria-expanded={areRunsShown} onClick={() => setRunsShown(!areRunsShown)}>
          {areRunsShown ? 'Hide runs' : 'Runs'}
        </button>
      </span>
      {areRunsShown && <JobRuns name={job.name} />}
    </li>
  );
};
export default JobItem;
