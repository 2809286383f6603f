#ifndef COMM_MPI_FOREIGN_LAUNCHER_H_
#define COMM_MPI_FOREIGN_LAUNCHER_H_

#include <optional>
#include <string>

namespace moe {

// A launcher that started this process as one of several, but not so that this
// MPI can join them: each process would take itself for the only one.
struct ForeignLauncher {
  int rank = 0;
  int world = 0;  // at least 2, or 0: it does not say
  // Whether no process of a lower rank finds the launcher: this one speaks.
  bool is_first = false;
  std::string message;  // one sentence: what is wrong, what to type instead
};

// As the environment says, before and without MPI_Init. A rank and a size above
// 1 are needed, both of the launcher's step: the shell of salloc has no rank, a
// batch script's own no step, `srun --pty` one task, and a stray WORLD_SIZE
// none of what comes with it. Of a launcher that tells its processes no size a
// rank above 0 says enough; rank 0 may be alone, and is left alone, unless the
// launcher counts several on its node. Nothing
// where a launcher started the process that this MPI understands
// (LauncherEnvironment).
std::optional<ForeignLauncher> FindForeignLauncher();

}  // namespace moe

#endif  // COMM_MPI_FOREIGN_LAUNCHER_H_
