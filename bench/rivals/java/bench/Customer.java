package bench;

/** What job A keeps of a customer, and its step: bench/job.py in Java. Public fields, so that Flink takes it as a POJO. */
public class Customer {
    public static final long DISORDER_MS = 5_000, DEADLINE_MS = 1_800_000, BURST_WITHIN_MS = 600_000, PANE_MS = 10_000;
    public static final long CONTACTS_WITHIN_MS = 7L * 86_400_000;
    public static final int BURST = 3;

    /** Where the effects of a step go. */
    public interface Effects {
        /** Counters of the pane of this time. */
        void count(long time, byte segment, byte channel, int events, int switches, int opened, int closed, int lost);

        /** An alert, as JSON. */
        void alert(String customer, long time, String json);
    }

    public byte channel = -1, segment, checkoutChannel;
    public boolean open;
    public int switches;
    public int recentCount;
    public long deadline;
    public long[] recent = new long[BURST - 1];
    public long[] contacts = new long[0];

    public int contactsAt(long time) {
        int found = 0;
        for (long contact : contacts) {
            if (contact > time - CONTACTS_WITHIN_MS) {
                found++;
            }
        }
        return found;
    }

    /** The deadline of the open checkout has passed. */
    public void abandon(String customer, Effects effects) {
        open = false;
        effects.count(deadline, segment, checkoutChannel, 0, 0, 0, 0, 1);
        effects.alert(customer, deadline, alert("abandoned", customer, deadline, segment, checkoutChannel, ""));
    }

    /** Apply an event; returns whether it opened a checkout, which then needs a timer. */
    public boolean step(Event event, Effects effects) {
        long time = event.time;
        if (open && time >= deadline) {
            abandon(event.customer, effects);
        }
        int switched = 0, opened = 0;
        boolean closed = false;
        if (channel >= 0 && channel != event.channel) {
            switched = 1;
            switchTo(event, effects);
        }
        channel = event.channel;
        if (open && deadline < time + DEADLINE_MS) {
            deadline = time + DEADLINE_MS;
        }
        if (event.type == Event.CHECKOUT && !open) {
            opened = 1;
            open = true;
            deadline = time + DEADLINE_MS;
            segment = event.segment;
            checkoutChannel = event.channel;
        } else if (event.type == Event.PURCHASE && open) {
            closed = true;
            open = false;
        } else if (event.type == Event.CONTACT) {
            contact(time);
        }
        effects.count(time, event.segment, event.channel, 1, switched, opened, 0, 0);
        if (closed) {
            effects.count(time, segment, checkoutChannel, 0, 0, 0, 1, 0);
        }
        return opened == 1;
    }

    private void switchTo(Event event, Effects effects) {
        switches++;
        int kept = 0;
        for (int i = 0; i < recentCount; i++) {
            if (recent[i] > event.time - BURST_WITHIN_MS) {
                recent[kept++] = recent[i];
            }
        }
        if (kept == BURST - 1) {
            effects.alert(event.customer, event.time, alert("switched", event.customer, event.time, event.segment, event.channel, event.id));
            kept = 0;
        } else {
            recent[kept++] = event.time;
        }
        recentCount = kept;
    }

    private void contact(long time) {
        long[] longer = new long[contactsAt(time) + 1];
        int kept = 0;
        for (long contact : contacts) {
            if (contact > time - CONTACTS_WITHIN_MS) {
                longer[kept++] = contact;
            }
        }
        longer[kept] = time;
        contacts = longer;
    }

    private String alert(String kind, String customer, long time, byte segment, byte channel, String cause) {
        return "{\"kind\":\"" + kind + "\",\"customer_id\":\"" + customer + "\",\"time\":" + time + ",\"segment\":\"" + Event.SEGMENTS[segment]
            + "\",\"channel\":\"" + Event.CHANNELS[channel] + "\",\"switches\":" + switches + ",\"contacts\":" + contactsAt(time)
            + ",\"cause\":\"" + cause + "\"}";
    }

    /** A pane of job B as JSON. */
    public static String pane(long pane, int segment, int channel, int events, int switches, int opened, int closed, int lost) {
        return "{\"pane\":" + pane + ",\"segment\":\"" + Event.SEGMENTS[segment] + "\",\"channel\":\"" + Event.CHANNELS[channel]
            + "\",\"counts\":[" + events + "," + switches + "," + opened + "," + closed + "," + lost + "]}";
    }
}
