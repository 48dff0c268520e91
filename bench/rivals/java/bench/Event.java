package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import java.io.IOException;

/** The six fields of an event that jobs A and B use; names as places in the lists. */
public class Event {
    public static final String[] CHANNELS = {"web", "app", "phone", "chat", "email", "store"};
    public static final String[] SEGMENTS = {"buy", "support", "returns", "onboard"};
    public static final byte OTHER = 0, CHECKOUT = 1, PURCHASE = 2, CONTACT = 3;

    private static final int FIELDS = 6;

    public String id;
    public String customer;
    public byte channel, segment, type;
    public long time;

    /** Reads fields until it has all six; the rest of the event stays unread. */
    public static Event parse(JsonFactory json, byte[] value) throws IOException {
        Event event = new Event();
        try (JsonParser parser = json.createParser(value)) {
            parser.nextToken();
            String name;
            for (int left = FIELDS; left > 0 && (name = parser.nextFieldName()) != null; ) {
                parser.nextToken();
                left--;
                switch (name) {
                    case "id" -> event.id = parser.getText();
                    case "customer_id" -> event.customer = parser.getText();
                    case "channel" -> event.channel = place(CHANNELS, parser.getText());
                    case "segment" -> event.segment = place(SEGMENTS, parser.getText());
                    case "timestamp" -> event.time = parser.getLongValue();
                    case "type" -> event.type = type(parser.getText());
                    default -> {
                        left++;
                        parser.skipChildren();
                    }
                }
            }
        }
        return event;
    }

    private static byte place(String[] names, String name) {
        for (byte i = 0; i < names.length; i++) {
            if (names[i].equals(name)) {
                return i;
            }
        }
        throw new IllegalArgumentException(name);
    }

    private static byte type(String name) {
        return switch (name) {
            case "checkout.started" -> CHECKOUT;
            case "order.completed" -> PURCHASE;
            case "contact.started" -> CONTACT;
            default -> OTHER;
        };
    }
}
