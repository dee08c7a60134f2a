import React from 'react';
import Badge from '../parts/Badge.js';
import { useStatus } from '../status.js';
import { sessionWord } from '../words.js';

/** The state of a session. "Connected" is only shown while its worker answers: a silent worker proves nothing. */
const SessionBadge: React.FC<{ status: string; workerId?: string | null | undefined }> = ({ status, workerId }) => {
  const { value } = useStatus();
  const isSilent = value?.silentWorkers.some(({ id }) => id === workerId) ?? false;
  if (status === 'connected' && isSilent)
    return (
      <Badge tone="bad" title="Its worker is silent.">
        Not confirmed
      </Badge>
    );
  const [word, tone] = sessionWord(status);
  return <Badge tone={tone}>{word}</Badge>;
};
export default SessionBadge;
