#include "launch/bench/bench_command.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "launch/bench/bench_kernels.h"
#include "launch/bench/bench_step.h"
#include "launch/command/command_line.h"
#include "launch/command/leave.h"
#include "launch/command/presets.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_keys.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/report/machine.h"

namespace moe {
namespace {

// Kernels are measured on rank 0 alone, steps on all ranks.
struct Part {
  const char* name;
  absl::Status (*kernels)(Kernels& kernels, const BenchOptions& options);
  absl::Status (*steps)(const MpiRuntime& runtime, const BenchOptions& options);
};
// The last one takes the most memory, and is refused where that is not there.
constexpr Part kParts[] = {{"matmul", BenchMatMul, nullptr},
                           {"experts", BenchExperts, nullptr},
                           {"attention", BenchAttention, nullptr},
                           {"optimizer", BenchOptimizer, nullptr},
                           {"step", nullptr, BenchStep},
                           {"skew", nullptr, BenchSkew},
                           {"memory", BenchMemory, nullptr}};

std::vector<std::string> AllParts() {
  std::vector<std::string> parts;
  for (const Part& part : kParts) parts.push_back(part.name);
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
  int64_t array_mib = 0;
  CommandLine line({
      .name = "moe-bench",
      .purpose = "measures the parts of a training step, and the whole.",
      .examples = {"moe-bench --preset=e64 --part=experts run.threads=1",
                   "mpirun -n 4 moe-bench --part=step --json "
                   "batch.global_size=16"},
      .exit_codes = {64, 69, 70, 71, 74, 76},
      .nearest_key = NearestConfigKey,
  });
  line.AddWords(
      "[section.key=value ...]",
      "set single values; if a key is given twice, the last value counts",
      &overrides);
  line.Add("preset", "NAME", "the model to measure (default: e8)",
           &preset_name);
  line.Add("part", "NAME",
           absl::StrCat(absl::StrJoin(AllParts(), ", "), " (default: all)"),
           &command.parts);
  line.Add("seconds", "S", "seconds for each measurement (default: 0.5)",
           &command.seconds);
  line.Add("array-mib", "N",
           "size of the arrays of part memory (default: four times the largest "
           "cache)",
           &array_mib);
  line.Add("json", "", "print one JSON object a line", &command.json);
  ASSIGN_OR_RETURN(command.text, line.Parse(argc, argv));
  if (!command.text.empty()) return command;

  RETURN_IF_ERROR(CheckParts(command.parts));
  if (command.parts.empty()) command.parts = AllParts();
  if (!(command.seconds > 0 && command.seconds <= 3600)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--seconds is ", command.seconds,
                     ", must be greater than 0 and at most 3600"));
  }
  constexpr int64_t kMostMib = int64_t{1} << 20;
  if (array_mib < 0 || array_mib > kMostMib) {
    return absl::InvalidArgumentError(
        absl::StrCat("--array-mib is ", array_mib, ", must be from 1 to ",
                     kMostMib, ", or 0 for four times the last cache"));
  }
  command.array_bytes = array_mib > 0 ? array_mib << 20 : 4 * LastCacheBytes();
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
  options.array_bytes = command.array_bytes;
  options.report = [&](BenchResult result) {
    result.compute_dtype =
        RunConfig::ComputeDType_Name(options.config.run().compute_dtype());
    StreamOutput(absl::StrCat(
        command.json ? ResultJson(result) : ResultLines(result), "\n"));
  };
  const int threads = options.config.run().threads();
  const double core_peak = PeakFlopsPerCore(ComputeDType(options.config));
  const int cores = runtime.node_cores();
  const double nodes =
      static_cast<double>(runtime.world()) / runtime.local_size();
  for (const Part& part : kParts) {
    if (!Wants(command, part.name)) continue;
    if (part.steps != nullptr) {
      options.peak_flops =
          core_peak * nodes * std::min(threads * runtime.local_size(), cores);
      RETURN_IF_ERROR(part.steps(runtime, options));
    } else if (runtime.rank() == 0) {
      options.peak_flops = core_peak * std::min(threads, cores);
      const std::unique_ptr<Kernels> kernels = MakeCpuKernels(threads);
      RETURN_IF_ERROR(kernels->status());
      RETURN_IF_ERROR(part.kernels(*kernels, options));
    }
  }
  if (std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::AbortedError("standard output: not all results were written");
}

}  // namespace moe
