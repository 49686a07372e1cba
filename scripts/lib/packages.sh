# shellcheck shell=bash
# Programs from the distribution's own packages, unpacked into the cache: nothing is installed on the machine,
# no root is needed, and a release newer than the machine's can be used because it brings its own C library.

PACKAGES_LAYOUT=1 # raise when what is unpacked or how it is patched changes

package_set_dir() { echo "$CACHE/$1-$PACKAGES_LAYOUT"; }

os_field() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | tr -d '"'; }

# --- what to fetch from where ---------------------------------------------------------------------------------------

package_family() {
  case " $(os_field ID) $(os_field ID_LIKE) " in
    *' ubuntu '*) echo ubuntu ;;
    *' debian '*) echo debian ;;
    *) return 1 ;;
  esac
}

own_suite() {
  if [ "$1" = ubuntu ] && [ -n "$(os_field UBUNTU_CODENAME)" ]; then
    os_field UBUNTU_CODENAME
  else
    os_field VERSION_CODENAME
  fi
}

# The machine's own release first, where it can have the packages; then the first one that is known to have them.
candidate_suites() { # family
  local own chosen
  own=$(own_suite "$1")
  chosen=$(own_setting IOT_HUB_APT_SUITE)
  if [ -n "$chosen" ]; then
    echo "$chosen"
  elif [ "$1" = ubuntu ]; then
    printf '%s\n' "$own" resolute
  else
    case $own in buster | bullseye | bookworm) ;; *) echo "$own" ;; esac
    echo trixie
  fi | awk 'NF && !seen[$0]++'
}

# Every archive that this machine's apt uses; only the one that our keyring vouches for will be accepted.
candidate_mirrors() { # family
  local chosen
  chosen=$(own_setting IOT_HUB_APT_MIRROR)
  if [ -n "$chosen" ]; then
    echo "$chosen"
    return
  fi
  apt-get --print-uris update 2>/dev/null |
    sed -n "s#^'\([^']*\)/dists/$(own_suite "$1")/InRelease'.*#\1#p" | awk '!seen[$0]++'
}

archive_keyring() { # family
  local file
  for file in /usr/share/keyrings/"$1"-archive-keyring.{gpg,pgp}; do
    if [ -r "$file" ]; then
      echo "$file"
      return
    fi
  done
  return 1
}

archive_components() { if [ "$1" = ubuntu ]; then echo main universe; else echo main; fi; }

# --- apt, with folders of its own -----------------------------------------------------------------------------------

write_apt_config() { # folder
  mkdir -p "$1"/state/lists/partial "$1"/cache/archives/partial "$1"/debs
  : >"$1/status"
  # The hooks that images and desktops hang on apt would touch the machine's own cache.
  cat >"$1/apt.conf" <<EOF
Dir::State "$1/state"; Dir::State::status "$1/status"; Dir::Cache "$1/cache";
Dir::Etc::sourcelist "$1/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "0"; Debug::NoLocking "1"; Acquire::Languages "none"; Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
EOF
}

private_apt() { # folder apt-tool arguments
  LC_ALL=C "$2" -c "$1/apt.conf" "${@:3}" 2>>"$1/apt.log"
}

# Prints the newest package whose whole name matches, which is how "postgresql-N-timescaledb" is found.
newest_package() { # folder regex
  private_apt "$1" apt-cache search --names-only "^$2\$" | awk '{print $1}' | sort -V | tail -n 1
}

# Points apt at the first release that has what we need.
open_archive() { # folder family regex
  local keyring mirror suite
  keyring=$(archive_keyring "$2") ||
    die_without "The archive keyring of $2 is not on this machine (package $2-archive-keyring)."
  while read -r suite; do
    while read -r mirror; do
      echo "deb [signed-by=$keyring target=Packages] $mirror $suite $(archive_components "$2" | xargs)" >"$1/sources.list"
      private_apt "$1" apt-get -q --error-on=any update >>"$1/apt.log" || continue
      [ -z "$(newest_package "$1" "$3")" ] || return 0
    done < <(candidate_mirrors "$2")
  done < <(candidate_suites "$2")
  return 1
}

why_apt_failed() { # folder
  local line
  line=$(grep -E '^(E|W|Err)[: ]' "$1/apt.log" 2>/dev/null | grep -Ev 'Some index files failed|unsandboxed' | tail -n 1 | cut -c1-240) || true
  [ -z "$line" ] || printf ' (apt says: %s)' "$line"
}

# --- download with a bar --------------------------------------------------------------------------------------------

# Needed only by parts that are never used here, and more than half of the download.
SKIPPED='^(libllvm.*|libz3-.*|perl|perl-.*|libperl.*|lib.*-perl|locales|libc-l10n|debconf|adduser|passwd)$'

closure() { # folder packages
  private_apt "$1" apt-get -s -o APT::Get::Assume-Yes=1 install "${@:2}" |
    awk '$1 == "Inst" {print $2}' | grep -Ev "$SKIPPED"
}

megabytes() { echo $((($1 + 524288) / 1048576)); }

folder_bytes() { du -sb "$1" 2>/dev/null | cut -f1; }

show_progress() { # pid folder total label
  local done_bytes width=30 filled
  while kill -0 "$1" 2>/dev/null; do
    done_bytes=$(folder_bytes "$2")
    [ "$done_bytes" -le "$3" ] || done_bytes=$3
    filled=$((done_bytes * width / $3))
    printf '\r  %s [%-*s] %d/%d MB ' "$4" "$width" "$(printf '%*s' "$filled" '' | tr ' ' '#')" \
      "$(megabytes "$done_bytes")" "$(megabytes "$3")"
    sleep 0.2
  done
  printf '\r\033[K'
}

download() { # folder label packages
  local folder=$1 label=$2 total pid
  shift 2
  total=$(cd "$folder/debs" && private_apt "$folder" apt-get --print-uris download "$@" | awk '{sum += $3} END {print sum + 1}')
  (cd "$folder/debs" && exec apt-get -c "$folder/apt.conf" -q download "$@" >>"$folder/apt.log" 2>&1 9>&-) &
  pid=$!
  if [ -t 1 ]; then
    show_progress "$pid" "$folder/debs" "$total" "downloading $label"
  else
    say "  downloading $label, $(megabytes "$total") MB"
  fi
  wait "$pid"
}

# --- unpack and patch -----------------------------------------------------------------------------------------------

unpack() { # folder-of-debs root
  local deb
  for deb in "$1"/*.deb; do
    dpkg --fsys-tarfile "$deb" |
      tar -x -C "$2" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        --no-same-owner --no-same-permissions || return 1
  done
  # Releases from before the merge of /lib into /usr/lib.
  if [ -d "$2/lib" ] && [ ! -L "$2/lib" ]; then cp -a "$2/lib/." "$2/usr/lib/"; fi
}

# The unpacked programs keep to the C library they were built with: its loader and folders are written into them.
# In two passes, because patchelf 0.18 breaks programs that aren't position-independent when it does both at once.
patch_programs() { # unpacked-root final-root programs...
  local root=$1 final=$2 loader libs program
  shift 2
  loader=$(find "$root/usr/lib" -name 'ld-linux*.so.*' -path '*-linux-gnu*' | head -n 1)
  [ -n "$loader" ] || return 1
  libs=$(dirname "$loader")
  patchelf() { "$loader" --library-path "$libs" "$root/usr/bin/patchelf" "$@"; }
  for program in "$@"; do
    patchelf --force-rpath --set-rpath "$final${libs#"$root"}" "$program" || return 1
    patchelf --set-interpreter "$final${loader#"$root"}" "$program" || return 1
  done
}

elf_programs() { # folder glob
  local file
  find "$1" -maxdepth 1 -type f -name "$2" -perm /111 | sort | while read -r file; do
    [ "$(head -c 4 "$file" | tail -c 3)" != ELF ] || echo "$file"
  done
}

# --- the whole way --------------------------------------------------------------------------------------------------

require_free_space() { # megabytes
  local free
  free=$(df -Pm "$CACHE" | awk 'NR == 2 {print $4}')
  [ "$free" -ge "$1" ] || die "$CACHE has $free MB free and needs $1; make room, or set IOT_HUB_CACHE to another folder."
}

require_packages_possible() { # label
  local tool
  for tool in apt-get apt-cache dpkg tar flock setpriv; do
    command -v "$tool" >/dev/null || die_without "This machine has no $tool, so $1 can't be fetched."
  done
  package_family >/dev/null || die_without "$1 would come from Debian's or Ubuntu's packages, and this is neither."
}

# Unpacks into a folder beside the final one and renames it when it is whole: an interrupted install leaves nothing
# that looks finished, and what was downloaded already is used again.
install_package_set() { # name label regex patch-function packages-function
  local name=$1 label=$2 final folder family packages
  final=$(package_set_dir "$name")
  folder=$CACHE/fetch-$name
  mkdir -p "$CACHE" 2>/dev/null && [ -w "$CACHE" ] || die "Can't write $CACHE; set IOT_HUB_CACHE to a folder of yours."
  lock "$CACHE/$name.lock" "  waiting for another install of $label"
  if ! "$4" works "$final"; then
    require_free_space 500
    family=$(package_family)
    write_apt_config "$folder"
    : >"$folder/apt.log"
    open_archive "$folder" "$family" "$3" || die_without "$label can't be fetched from the package archive$(why_apt_failed "$folder")."
    mapfile -t packages < <("$5" "$folder")
    mapfile -t packages < <(closure "$folder" "${packages[@]}")
    download "$folder" "$label" "${packages[@]}" || die_without "The download of $label failed$(why_apt_failed "$folder")."
    settle_package_set "$folder" "$final" "$4" "$label"
  fi
  unlock
}

settle_package_set() { # folder final patch-function label
  rm -rf "$1/root" && mkdir -p "$1/root"
  chmod 755 "$1" "$1/root"
  unpack "$1/debs" "$1/root" 2>>"$1/apt.log" || die_without "The packages of $4 could not be unpacked (see $1/apt.log)."
  "$3" patch "$1/root" "$2" 2>>"$1/apt.log" || die_without "The programs of $4 could not be prepared (see $1/apt.log)."
  rm -rf "$2" && mv "$1/root" "$2"
  "$3" works "$2" || die_without "The programs of $4 don't run on this machine ($(dpkg --print-architecture))."
  rm -rf "$1"
}
