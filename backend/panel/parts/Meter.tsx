import React from 'react';

interface MeterProps {
  label: string;
  value: number;
  of: number | null;
  text: string;
  isProgress?: boolean;
}

/** A bar of how much of a limit is used, or with `isProgress` of how much is done. Without a limit it shows only the text. */
const Meter: React.FC<MeterProps> = ({ label, value, of, text, isProgress = false }) => {
  const part = of ? Math.min(1, value / of) : 0;
  return (
    <div className="cq-meter">
      <div className="cq-line">
        <span>{label}</span>
        <b>{text}</b>
      </div>
      {of ? (
        <div className="cq-bar" role="meter" aria-label={label} aria-valuenow={value} aria-valuemin={0} aria-valuemax={of}>
          <i className={part > 0.9 && !isProgress ? 'cq-full' : ''} style={{ width: `${Math.round(part * 100)}%` }} />
        </div>
      ) : null}
    </div>
  );
};
export default Meter;
