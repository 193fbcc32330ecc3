// A room of `ws`: what one client says goes to all.
import { WebSocket, WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 2048,
});

server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
  });
});
