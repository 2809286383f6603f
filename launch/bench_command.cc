#include "launch/bench_command.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/status_macros.h"
#include "launch/bench_kernels.h"
#include "launch/bench_step.h"
#include "launch/command_line.h"
#include "launch/presets.h"
#include "trainer/config_check.h"
#include "trainer/config_override.h"
#include "trainer/config_resolve.h"
#include "trainer/config_text.h"
#include "trainer/machine.h"

namespace moe {
namespace {

struct Part {
  const char* name;
  absl::Status (*run)(KernelContext& kernels, const BenchOptions& options);
};
constexpr Part kKernelParts[] = {{"matmul", BenchMatMul},
                                 {"experts", BenchExperts},
                                 {"attention", BenchAttention},
                                 {"optimizer", BenchOptimizer}};
constexpr char kStep[] = "step";

std::vector<std::string> AllParts() {
  std::vector<std::string> parts;
  for (const Part& part : kKernelParts) parts.push_back(part.name);
  parts.push_back(kStep);
  return parts;
}

bool Wants(const BenchCommand& command, absl::string_view part) {
  return std::find(command.parts.begin(), command.parts.end(), part) !=
         command.parts.end();
}

absl::Status CheckParts(const std::vector<std::string>& parts) {
  const std::vector<std::string> all = AllParts();
  for (const std::string& part : parts) {
    if (std::find(all.begin(), all.end(), part) != all.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--part is '", part, "', must be one of ", absl::StrJoin(all, ", ")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BenchCommand> ParseBenchCommand(int argc,
                                               const char* const* argv,
                                               int world) {
  BenchCommand command;
  std::string preset_name = "e8";
  std::vector<std::string> overrides;
  CommandLine line({
      .name = "moe-bench",
      .purpose = "measures the parts of a training step, and the whole.",
      .examples = {"moe-bench --preset=e64 --part=experts run.threads=1",
                   "mpirun -n 4 moe-bench --part=step --json "
                   "batch.global_size=16"},
  });
  line.AddWords("[section.key=value ...]",
                "override single values; the last one of a key holds",
                &overrides);
  line.Add("preset", "NAME", "whose shapes to measure (default: e8)",
           &preset_name);
  line.Add("part", "NAME",
           absl::StrCat(absl::StrJoin(AllParts(), ", "), " (default: all)"),
           &command.parts);
  line.Add("seconds", "S", "for each measurement (default: 0.5)",
           &command.seconds);
  line.Add("json", "", "one JSON object a line", &command.json);
  ASSIGN_OR_RETURN(command.text, line.Parse(argc, argv));
  if (!command.text.empty()) return command;

  RETURN_IF_ERROR(CheckParts(command.parts));
  if (command.parts.empty()) command.parts = AllParts();
  if (!(command.seconds > 0 && command.seconds <= 3600)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seconds is ", command.seconds,
                     ", must be greater than 0 and at most 3600"));
  }
  ASSIGN_OR_RETURN(const Preset preset, FindPreset(preset_name));
  ASSIGN_OR_RETURN(command.config, ParseConfig(preset.text, preset.name));
  RETURN_IF_ERROR(ApplyOverrides(command.config, overrides));
  RETURN_IF_ERROR(ValidateConfig(command.config, world));
  return command;
}

absl::Status RunBenchCommand(const BenchCommand& command,
                             const MpiRuntime& runtime) {
  BenchOptions options;
  ASSIGN_OR_RETURN(
      options.config,
      ResolveConfig(command.config, runtime.world(), runtime.cores_per_rank()));
  options.seconds = command.seconds;
  const int threads = options.config.run().threads();
  const double core_peak = PeakFlopsPerCore(ComputeDType(options.config));
  options.peak_flops = core_peak * std::min(threads, runtime.node_cores());
  options.report = [&](const BenchResult& result) {
    std::printf(
        "%s\n",
        (command.json ? ResultJson(result) : ResultLine(result)).c_str());
    std::fflush(stdout);
  };
  if (runtime.rank() == 0) {
    const KernelContextPtr kernels = MakeKernelContext(threads);
    for (const Part& part : kKernelParts) {
      if (Wants(command, part.name))
        RETURN_IF_ERROR(part.run(*kernels, options));
    }
  }
  if (Wants(command, kStep)) {
    options.peak_flops =
        core_peak *
        std::min(threads * runtime.local_size(), runtime.node_cores()) *
        runtime.world() / runtime.local_size();
    RETURN_IF_ERROR(BenchStep(runtime, options));
  }
  if (std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::AbortedError("standard output: not all results were written");
}

}  // namespace moe
