<#
.SYNOPSIS
Ends and removes what install-task.ps1 made. Folder, key and log stay.
.EXAMPLE
.\remove-task.ps1 -Terminal main
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [ValidatePattern('^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$')][string]$Terminal = 'main'
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

foreach ($name in @("mt5relay worker $Terminal", "mt5relay terminal $Terminal")) {
    $task = Get-ScheduledTask -TaskName $name -ErrorAction SilentlyContinue
    if ($null -eq $task) {
        Write-Output "no task '$name'"
        continue
    }
    if ($PSCmdlet.ShouldProcess($name, 'end and remove')) {
        # Not a graceful stop: what was on the terminal is answered by the next worker.
        Stop-ScheduledTask -TaskName $name
        Unregister-ScheduledTask -TaskName $name -Confirm:$false
        Write-Output "removed '$name'"
    }
}
