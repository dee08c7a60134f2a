import React from 'react';
import Badge from '../parts/Badge.js';
import { useStatus } from '../status.js';
import { offlineWord, sessionWord, unconfirmedWord } from '../words.js';

interface SessionBadgeProps {
  status: string;
  workerId?: string | null | undefined;
  /** Whether the session was linked to a phone. */
  isLinked: boolean;
  /** Why it is not connected. */
  reason: { by: string; isWanted?: boolean | undefined } | null;
}

/**
 * The state of a session. "Connected" is only shown while its worker answers: a silent worker proves nothing. "Stopped" is what a person stopped; a
 * phone that went away by itself is offline.
 */
const SessionBadge: React.FC<SessionBadgeProps> = ({ status, workerId, isLinked, reason }) => {
  const { value } = useStatus();
  const isSilent = value?.silentWorkers.some(({ id }) => id === workerId) ?? false;
  const isUnconfirmed = status === 'connected' && isSilent;
  const isOffline = status === 'disconnected' && isLinked && reason !== null && !reason.isWanted;
  const [word, tone] = isUnconfirmed ? unconfirmedWord : isOffline ? offlineWord(reason.by) : sessionWord(status);
  return (
    <Badge tone={tone} title={isUnconfirmed ? 'Its worker is silent.' : null}>
      {word}
    </Badge>
  );
};
export default SessionBadge;
