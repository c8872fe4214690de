import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/**
 * Server PORT FILE: speaks MongoDB's wire protocol on loopback and keeps its data in FILE. It
 * says that it is a 7.0, because today's drivers speak to nothing older than 4.2.
 */
class Server {
  public static void main(String[] args) {
    H2Backend backend = new H2Backend(args[1]);
    backend.version(
        new MongoVersion() {
          @Override
          public List<Integer> getVersionArray() {
            return List.of(7, 0, 0, 0);
          }

          @Override
          public int getWireVersion() {
            return 21;
          }
        });
    new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(args[0]));
  }
}
