#ifndef COMM_MPI_REFUSED_MEMORY_H_
#define COMM_MPI_REFUSED_MEMORY_H_

#include <functional>
#include <mutex>
#include <string>

namespace moe {

// Where the system refuses memory for a Buffer, a status says so and goes up
// (buffer.h). All else, the strings and vectors of this program and of its
// libraries, comes from operator new, and nobody can go on without it:
//
//   1. The first thread that is refused gives back a reserve that was set aside
//      for this moment, so that what follows has memory. Other threads that are
//      refused wait for the end.
//   2. What must not stay behind is removed (RemovalAtEnd).
//   3. The watchdog is told, if one stands, and ends the job with one report;
//      else "PROGRAM: memory was refused: ..." goes to standard error.
//   4. The process ends with ExitCode(ResourceExhausted), 69.

// From now on. `program`: a literal, for the message.
void EndWhereMemoryIsRefused(const char* program);

// The watchdog's thread, which step 3 needs, calls this: where it is refused
// memory it goes on with the reserve, and then learns why, as of another
// thread.
void GoOnWhereMemoryIsRefused();

// The reason, for people: "memory was refused: 512 MiB are resident, at most
// 600 MiB of address space are allowed (ulimit -v)".
std::string RefusedMemoryText();

// While it lives, `remove` is called where the process ends at once: in step 2,
// and where a signal ends it (EndOnSignals). It may use little memory and must
// not wait for other threads. On any thread.
class RemovalAtEnd {
 public:
  explicit RemovalAtEnd(std::function<void()> remove);
  ~RemovalAtEnd();
  RemovalAtEnd(const RemovalAtEnd&) = delete;
  RemovalAtEnd& operator=(const RemovalAtEnd&) = delete;

  // May be locked once more by a thread that has it, since a removal may be
  // refused memory.
  using Lock = std::unique_lock<std::recursive_mutex>;

  // While the result lives, nothing is removed: for what gives a path its final
  // name.
  [[nodiscard]] static Lock Hold();
  // Calls all of them. While the result lives, none comes or goes: a thread
  // that fails because of what was removed waits then, and says nothing.
  [[nodiscard]] static Lock RemoveAll();

 private:
  const std::function<void()> remove_;
  RemovalAtEnd* before_ = nullptr;
  RemovalAtEnd* next_ = nullptr;
};

}  // namespace moe

#endif  // COMM_MPI_REFUSED_MEMORY_H_
